//! All suites in one test binary.

mod servers;
mod store;
