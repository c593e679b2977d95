//! One target per decoder: [`frames`] of a WebSocket, [`entries`] of the log, batches of an [`inbox`], [`tokens`],
//! [`json`] and [`addresses`] of requests.
//!
//! A target is a function of any bytes. It panics when a decoder does, and when what the decoder made of the bytes is not
//! what it promises: most targets read the bytes a second time, in the plainest way there is, and compare. It answers
//! whether the decoder took anything of the bytes, so that a test can tell seeds from noise.

pub mod addresses;
pub mod entries;
pub mod frames;
pub mod inbox;
mod input;
pub mod json;
pub mod seeds;
pub mod tokens;

#[cfg(test)]
mod tests;
