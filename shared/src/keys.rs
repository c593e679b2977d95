//! What is in Redis: every key we use, and nothing else builds one.
//!
//! Log role: all keys of a partition share the tag `{pNN}`, so that a script touches one slot of a cluster.
//! Bus role: a key belongs to one node (`{n:…}`), one room or person (`{t:…}`) or one partition (`{pNN}`).

use crate::id::{AccountId, BootId, Partition, RoomId};

/// The group under which the fan-out workers' place in a log is published.
pub const FANOUT: &str = "fanout";
/// The group under which the persister's place in a log is published.
pub const PERSISTER: &str = "persister";

/// The Redis Stream that is a partition's log.
#[must_use]
pub fn log(partition: Partition) -> String {
    format!("{{p{partition}}}:log")
}

/// Hash: run id of the opened process, epoch, counters, published watermark.
#[must_use]
pub fn meta(partition: Partition) -> String {
    format!("{{p{partition}}}:meta")
}

/// Hash: room -> sequence number, last entry, membership number, last restricting number.
#[must_use]
pub fn rooms(partition: Partition) -> String {
    format!("{{p{partition}}}:rooms")
}

/// Hash: nonces, like totals and guards of retained entries.
#[must_use]
pub fn memo(partition: Partition) -> String {
    format!("{{p{partition}}}:memo")
}

/// List: when `person` was last let through in `room`, newest first.
#[must_use]
pub fn rate(partition: Partition, room: RoomId, person: AccountId) -> String {
    format!("{{p{partition}}}:rate:{room}:{person}")
}

/// String with expiry: the latest time that a name of `person` said before it had come, in milliseconds since 1970.
#[must_use]
pub fn ahead(partition: Partition, person: AccountId) -> String {
    format!("{{p{partition}}}:ahead:{person}")
}

/// String with expiry: which fan-out worker owns the partition.
#[must_use]
pub fn fanout_lease(partition: Partition) -> String {
    format!("{{p{partition}}}:fanout:lease")
}

/// String: the last entry that fan-out has handed on.
#[must_use]
pub fn fanout_cursor(partition: Partition) -> String {
    format!("{{p{partition}}}:fanout:cursor")
}

/// Sorted set: live fan-out workers by the time their word lapses.
pub const FANOUT_WORKERS: &str = "fanout:workers";
/// Sorted set: live api nodes by the time their word lapses.
pub const NODES: &str = "nodes";

/// String with expiry: the node's word that it is alive.
#[must_use]
pub fn alive(node: BootId) -> String {
    format!("{{n:{node}}}:alive")
}

/// Redis Stream: what fan-out has for this node.
#[must_use]
pub fn inbox(node: BootId) -> String {
    format!("{{n:{node}}}:inbox")
}

/// String: the number of the last inbox entry.
#[must_use]
pub fn inbox_number(node: BootId) -> String {
    format!("{{n:{node}}}:nseq")
}

/// Set: the nodes that want what happens in a room.
#[must_use]
pub fn room_route(room: RoomId) -> String {
    format!("{{t:{room}}}:nodes")
}

/// Set: the nodes that hold a socket of a person.
#[must_use]
pub fn person_route(person: AccountId) -> String {
    format!("{{t:{person}}}:nodes")
}

/// Sorted set: `person|boot id` -> when that node's word for the person lapses.
#[must_use]
pub fn viewers(room: RoomId) -> String {
    format!("{{t:{room}}}:viewers")
}

/// Hash: person -> how many nodes have a socket of theirs in the room.
#[must_use]
pub fn viewing_people(room: RoomId) -> String {
    format!("{{t:{room}}}:people")
}

/// Sorted set: person -> when a REST sighting lapses.
#[must_use]
pub fn sightings(room: RoomId) -> String {
    format!("{{t:{room}}}:seen")
}

/// String with expiry: the node that announces the room's viewer count.
#[must_use]
pub fn announcer(room: RoomId) -> String {
    format!("{{t:{room}}}:announcer")
}

/// Sorted set: the nodes that hold a socket of a person -> when their word lapses.
#[must_use]
pub fn online(person: AccountId) -> String {
    format!("{{t:{person}}}:online")
}

/// Hash: node -> how many sockets of one person or address it holds, and how long that word holds.
#[must_use]
pub fn sockets(of: &str) -> String {
    format!("{{t:{of}}}:sockets")
}

/// String with expiry: handshakes of one address in the running second.
#[must_use]
pub fn handshakes(address: &str, second: i64) -> String {
    format!("{{t:{address}}}:handshakes:{second}")
}
