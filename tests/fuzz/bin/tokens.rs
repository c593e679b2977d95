//! `make fuzz TARGET=tokens`: what is checked stands in `fuzz::tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::tokens::seeds()),
    |data: &[u8]| {
        fuzz::tokens::check(data);
    }
);
