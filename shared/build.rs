//! The migrations are embedded at compile time, and cargo does not see them by itself.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
