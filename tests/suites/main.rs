//! All suites in one test binary.

mod auth;
mod contract;
mod end_to_end;
mod friends;
mod live_chat;
mod log;
mod nodes;
mod schedules;
mod security;
mod servers;
mod store;
mod supply_chain;
mod transactions;
