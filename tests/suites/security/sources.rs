//! What the sources themselves promise.

use std::path::Path;

/// The manifest of the workspace or of a package.
fn manifest(package: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    let path = repository.join(package).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn s44_no_package_may_hold_unsafe_code() {
    assert!(manifest("").contains("unsafe_code = \"forbid\""));
    assert!(manifest("").contains("unwrap_used = \"warn\""), "and CI denies warnings");
    for package in ["shared", "api", "fanout-worker", "persister", "tests", "tests/fuzz"] {
        let manifest = manifest(package);
        let lints = manifest.split("[lints]").nth(1).unwrap_or_default();
        assert!(lints.trim_start().starts_with("workspace = true"), "{package} keeps the workspace's lints");
    }
}
