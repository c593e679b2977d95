//! Dialect live_chat as its clients see it.

mod bodies;
mod chatting;
mod history;
mod likes;
mod monitoring;
mod rate;
mod retries;
mod viewers;
mod window;
