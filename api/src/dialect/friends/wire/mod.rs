//! Every byte of this dialect, in and out: [`frames`] of the socket, [`bodies`] of the calls about messages, and [`people`]: who they
//! are to each other.

mod bodies;
mod frames;
mod people;
mod query;
#[cfg(test)]
pub(crate) mod samples;

pub(crate) use bodies::{FullLetterBody, HistoryBody, LetterBody, OnlineBody, SendBody, Status, UnreadBody};
pub(crate) use frames::{FrameIn, FrameOut};
pub(crate) use people::{
    AccountSummary, AskBody, BlocksBody, FoundBody, FriendsBody, RequestBody, RequestsBody,
};
pub(crate) use query::{HistoryQuery, NameQuery, PageQuery, SocketQuery};
