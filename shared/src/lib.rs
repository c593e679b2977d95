//! What the three Hubbub services have in common: the words, the log, the stores, the bus.
//!
//! All Redis and all SQL is here, whoever uses it, so that "what is in Redis" has one answer ([`keys`]) and so has "what
//! is in the log" ([`event`]). Nothing here knows HTTP, sockets or a client's JSON.

pub mod bus;
pub mod config;
pub mod error;
pub mod event;
pub mod id;
pub mod keys;
pub mod message;
pub mod room;
pub mod shutdown;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod user;

pub use error::{Code, Error, Refusal};
