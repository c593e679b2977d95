//! The stateless node that clients talk to: REST, WebSocket and the hub.

#[allow(dead_code, reason = "until the router is served by it")]
mod accept;
#[allow(dead_code, reason = "until the router serves it")]
mod auth;
mod chat;
pub mod config;
mod headers;
#[allow(dead_code, reason = "until the dialects deliver through it")]
mod hub;
pub mod limits;
#[allow(dead_code, reason = "until the router leads to it")]
mod transport;
