//! `make fuzz TARGET=entries`: what is checked stands in `fuzz::entries`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::entries::seeds()),
    |data: &[u8]| {
        fuzz::entries::check(data);
    }
);
