//! The harness: real servers and real processes, so that a test is only its scenario.
//!
//! Nothing started here outlives the test process, however that process ends.

pub mod children;
pub mod logs;
pub mod process;
pub mod servers;
