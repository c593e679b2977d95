//! The harness: real servers and real processes, so that a test is only its scenario.
//!
//! Nothing started here outlives the test process, however that process ends.

pub mod children;
pub mod dialect;
pub mod disk;
pub mod friends;
pub mod golden;
pub mod http;
pub mod load;
pub mod logs;
pub mod person;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod servers;
pub mod socket;
pub mod stack;
pub mod tokens;
