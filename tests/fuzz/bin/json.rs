//! `make fuzz TARGET=json`: what is checked stands in `fuzz::json`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: fuzz::seeds::write(&fuzz::json::seeds()),
    |data: &[u8]| {
        fuzz::json::check(data);
    }
);
