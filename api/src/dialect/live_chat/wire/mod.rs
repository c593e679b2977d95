//! Every byte of this dialect, in and out: [`bodies`] of the REST calls, [`frames`] of the socket.
//!
//! Clients of the first hour must go on working, so a field that they know keeps its name, type and meaning; what is new
//! only adds fields. The OpenAPI and AsyncAPI documents are made from these very types.

mod bodies;
mod frames;
mod query;
#[cfg(test)]
pub(crate) mod samples;
mod time;

pub(crate) use bodies::{
    LikesBody, MessageBody, MessageLiked, MessagesBody, SendBody, Sent, SessionBody, SessionLiked, StatsBody,
    StatusBody, ViewersBody,
};
pub(crate) use frames::{FrameIn, FrameOut};
pub(crate) use query::{MessagesQuery, SocketQuery};
pub(crate) use time::NaiveUtc;
