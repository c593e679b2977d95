//! The log and its two readers, on real servers and step by step: what was accepted is stored once and in order,
//! whatever is killed, paused, replayed or taken over in between.
//!
//! Every Redis of the suite runs in cluster mode, where a command or script that touches two slots is an error. So each
//! of these tests also shows that what it uses could be moved to a Redis Cluster.

mod append;
mod crashes;
mod epochs;
mod fanout;
mod friendships;
mod group_commit;
mod leases;
mod likes;
mod limits;
mod members;
mod outages;
mod owners;
mod persister;
mod poison;
mod rollback;
mod script;
mod trim;
