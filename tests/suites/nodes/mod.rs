//! What several nodes and failing servers must not change.

mod drain;
mod flood;
mod gaps;
mod inboxes;
mod kills;
mod outages;
mod reading;
mod resume;
mod roll;
mod stuck;
