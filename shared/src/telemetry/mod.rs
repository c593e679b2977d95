//! Seeing it work: logs without secrets and without forgeries, numbers under fixed names, and one internal listener
//! that tells balancers and scrapers how this process is.

mod health;
mod internal;
mod logs;
mod metrics;
pub mod names;

pub use health::Health;
pub use internal::{InternalRoutes, InternalServer, Reply, serve_internal};
pub use logs::init;
pub use metrics::Metrics;
