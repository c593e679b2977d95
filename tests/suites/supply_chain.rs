//! What comes into the build from outside.

use std::path::Path;
use std::process::Command;

#[test]
fn s46_every_package_is_locked_licensed_and_from_the_one_registry() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    let output = Command::new(repository.join(".ci/supply-chain")).output().expect("bash is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
