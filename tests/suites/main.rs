//! All suites in one test binary.

mod servers;
mod store;
mod supply_chain;
