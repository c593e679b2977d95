//! All suites in one test binary.

mod auth;
mod log;
mod servers;
mod store;
mod supply_chain;
