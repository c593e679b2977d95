//! Where a search begins: real frames, entries and tokens, made by the code that makes them in earnest, so that they never
//! fall behind it.

use std::path::PathBuf;

/// Writes the seeds to the folder that `FUZZ_SEEDS` names, from which libFuzzer then reads them.
///
/// # Panics
/// When the folder can't be written to.
pub fn write(seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder of seeds can be made");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}
