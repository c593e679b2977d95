//! The stateless node that clients talk to: REST, WebSocket and the hub.

pub mod config;
mod headers;
pub mod limits;
