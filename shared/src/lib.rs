//! What the three Hubbub services have in common: the words, the log, the stores, the bus.
//!
//! All Redis and all SQL is here, whoever uses it, so that "what is in Redis" has one answer ([`keys`]) and so has "what
//! is in the log" ([`event`]). Nothing here knows HTTP, sockets or a client's JSON.
//!
//! | to | read |
//! |---|---|
//! | name things | [`id`], [`user`], [`room`], [`message`] |
//! | append to the log, read it, trim it | [`stream`]; what it holds is [`event`] |
//! | share partitions between workers | [`stream::Crew`], which wants a [`stream::Office`] for its leases |
//! | reach other nodes, count over all of them | [`bus`] |
//! | read and write Postgres | [`store`] |
//! | say what went wrong | [`error`], sorted by what the caller does next |
//! | be told settings, be seen, be stopped | [`config`], [`telemetry`], [`shutdown`] |
//! | show that a missing guard is noticed | [`planted`] |

pub mod bus;
pub mod config;
#[doc(hidden)]
pub mod decoders;
pub mod error;
pub mod event;
pub mod id;
pub mod keys;
pub mod message;
pub mod planted;
pub mod room;
pub mod shutdown;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod user;

pub use error::{Code, Error, Refusal};
