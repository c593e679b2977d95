//! `make fuzz TARGET=addresses`: what is checked stands in `fuzz::addresses`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::addresses::seeds()),
    |data: &[u8]| {
        fuzz::addresses::check(data);
    }
);
