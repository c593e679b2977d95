//! What `make test` knows of the targets without libFuzzer: their seeds lead somewhere, and so do the seeds' neighbours.

use super::{addresses, entries, frames, inbox, json, tokens};

type Target = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]) -> bool);

const TARGETS: [Target; 6] = [
    ("frames", frames::seeds, frames::check),
    ("entries", entries::seeds, entries::check),
    ("inbox", inbox::seeds, inbox::check),
    ("tokens", tokens::seeds, tokens::check),
    ("json", json::seeds, json::check),
    ("addresses", addresses::seeds, addresses::check),
];

#[test]
fn every_seed_is_understood() {
    for (name, seeds, check) in TARGETS {
        for (number, seed) in seeds().iter().enumerate() {
            assert!(check(seed), "{name}: seed {number} leads nowhere: {}", String::from_utf8_lossy(seed));
        }
    }
}

#[test]
fn the_neighbours_of_every_seed_break_nothing() {
    for (_, seeds, check) in TARGETS {
        for seed in seeds() {
            for place in 0..seed.len() {
                check(&seed[..place]);
                for bend in [0x01, 0x20, 0x80] {
                    let mut bent = seed.clone();
                    bent[place] ^= bend;
                    check(&bent);
                }
            }
        }
    }
}

#[test]
fn every_target_is_built_and_run() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect("the file is there");
    let (manifest, run) = (read("Cargo.toml"), read("run"));
    let names: Vec<&str> = TARGETS.iter().map(|(name, ..)| *name).collect();
    assert!(run.contains(&format!("TARGETS='{}'", names.join(" "))), "run knows {names:?}");
    for name in names {
        assert!(manifest.contains(&format!("name = \"fuzz-{name}\"")), "{name} is a program");
    }
}
