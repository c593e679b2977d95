//! The stateless node that clients talk to: REST, WebSocket and the hub.

mod chat;
pub mod config;
mod headers;
pub mod limits;
