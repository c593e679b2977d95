//! `make fuzz TARGET=inbox`: what is checked stands in `fuzz::inbox`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::inbox::seeds()),
    |data: &[u8]| {
        fuzz::inbox::check(data);
    }
);
