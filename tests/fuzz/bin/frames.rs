//! `make fuzz TARGET=frames`: what is checked stands in `fuzz::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::frames::seeds()),
    |data: &[u8]| {
        fuzz::frames::check(data);
    }
);
