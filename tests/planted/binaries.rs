//! The test binaries of a build that can have bugs on purpose.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// By the name of their library or test.
pub(crate) struct Binaries(HashMap<String, PathBuf>);

impl Binaries {
    /// Has cargo build them, in the profile of everything else.
    pub(crate) fn build() -> Result<Binaries, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["test", "--release", "--locked", "--workspace", "--features", "shared/planted-bugs"])
            .args(["--no-run", "--message-format=json-render-diagnostics"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo can't be run: {error}"))?;
        if !built.status.success() {
            return Err("the tests can't be built".to_owned());
        }
        let lines = String::from_utf8_lossy(&built.stdout).into_owned();
        Ok(Binaries(lines.lines().filter_map(test_binary).collect()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.get(name).cloned().unwrap_or_else(|| PathBuf::from(name))
    }
}

/// A line of cargo's about a test binary that is not a program's own.
fn test_binary(line: &str) -> Option<(String, PathBuf)> {
    let artifact: Value = serde_json::from_str(line).ok()?;
    let is_program = artifact["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
    if is_program || artifact["profile"]["test"] != true {
        return None;
    }
    let name = artifact["target"]["name"].as_str()?.to_owned();
    Some((name, PathBuf::from(artifact["executable"].as_str()?)))
}
