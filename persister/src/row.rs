//! From entries to rows: pure, so that everything that could be wrong with it is a table in a test.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use shared::event::{Envelope, Event, LikeChanged, MessageRead, MessageSent, ViewersSeen};
use shared::id::{AccountId, MessageId, Position, RoomId, digest};
use shared::store::amendments::AmendmentRow;
use shared::store::effects::{LikeRow, MessageRow, UNREADABLE};
use shared::store::live::Sighting;
use shared::store::membership::Logged;
use shared::store::receipts::ReadRow;
use shared::stream::dead_letter::Parking;
use shared::user::Roles;
use uuid::Uuid;

/// The rows of some consecutive entries.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    pub(crate) messages: Vec<MessageRow>,
    /// The last state of each like, in no order.
    pub(crate) likes: Vec<LikeRow>,
    /// How each message that was edited or deleted stands after it, in no order.
    pub(crate) amendments: Vec<AmendmentRow>,
    /// What was read, in the order of the log.
    pub(crate) reads: Vec<ReadRow>,
    /// Membership changes, in the order of the log.
    pub(crate) changes: Vec<Logged>,
    pub(crate) sightings: Vec<Sighting>,
    /// Rooms whose members' rows may change, each once.
    pub(crate) peopled: BTreeSet<RoomId>,
    /// Each room's newest position.
    pub(crate) heads: HashMap<RoomId, Position>,
    /// When the newest message of each room was accepted.
    pub(crate) newest: HashMap<RoomId, DateTime<Utc>>,
    /// Entries that can't be read.
    pub(crate) parked: Vec<Parking<'a>>,
}

/// The rows of `envelopes`, which are in the order of the log.
pub(crate) fn rows(envelopes: &[Envelope], partitions: u16) -> Rows<'_> {
    let mut rows = Rows::default();
    let mut likes: HashMap<(Uuid, AccountId), LikeRow> = HashMap::new();
    let mut amendments: HashMap<MessageId, AmendmentRow> = HashMap::new();
    for envelope in envelopes {
        if let Some(room) = envelope.room {
            rows.heads.insert(room, envelope.position());
            // What happens to people, and between two of them, names them.
            if !envelope.to.is_empty() {
                rows.peopled.insert(room);
            }
        }
        match read(envelope) {
            Ok((Some(room), Event::MessageSent(message))) => {
                rows.newest.insert(room, envelope.at());
                rows.messages.push(message_row(envelope, room, message, partitions));
            }
            Ok((Some(room), Event::LikeChanged(like))) => {
                let row = like_row(envelope, room, &like);
                likes.insert((row.target, row.person), row);
            }
            Ok((Some(_), Event::MessageEdited(edit))) => {
                amend(&mut amendments, amendment(envelope, edit.id, edit.by, Some(edit.text)));
            }
            Ok((Some(_), Event::MessageDeleted(deletion))) => {
                amend(&mut amendments, amendment(envelope, deletion.id, deletion.by, None));
            }
            Ok((Some(room), Event::MessageRead(read))) => rows.reads.push(read_row(envelope, room, &read)),
            Ok((Some(room), Event::MembershipChanged(change))) => {
                rows.changes.push(Logged { room, to: envelope.to.clone(), change, at: envelope.at() });
            }
            Ok((_, Event::ViewersSeen(seen))) => rows.sightings.extend(sightings(envelope, &seen)),
            Ok((None, _)) => park(&mut rows, envelope, None, "an event of a room names no room", partitions),
            Err(error) => park(&mut rows, envelope, None, &error.to_string(), partitions),
        }
    }
    rows.likes = likes.into_values().collect();
    rows.amendments = amendments.into_values().collect();
    rows
}

/// The rows of one entry that Postgres refuses.
pub(crate) fn parked<'a>(
    envelope: &'a Envelope,
    sqlstate: Option<String>,
    reason: &str,
    partitions: u16,
) -> Rows<'a> {
    let mut rows = Rows::default();
    if let Some(room) = envelope.room {
        rows.heads.insert(room, envelope.position());
    }
    park(&mut rows, envelope, sqlstate, reason, partitions);
    rows
}

fn read(envelope: &Envelope) -> Result<(Option<RoomId>, Event), serde_json::Error> {
    envelope.event().map(|event| (envelope.room, event))
}

fn message_row(envelope: &Envelope, room: RoomId, message: MessageSent, partitions: u16) -> MessageRow {
    MessageRow {
        id: message.id,
        no: envelope.message_no(partitions),
        room,
        author: message.author.id,
        position: envelope.position(),
        kind: "text",
        digest: digest(message.text.as_bytes()),
        content: Some(message.text),
        nonce: message.nonce,
        roles: message.author.roles,
        at: envelope.at(),
        is_direct: !envelope.to.is_empty(),
    }
}

fn like_row(envelope: &Envelope, room: RoomId, like: &LikeChanged) -> LikeRow {
    LikeRow {
        room,
        target: like.target.id(room),
        person: like.person,
        liked: like.liked,
        at: envelope.at(),
        position: envelope.position(),
    }
}

fn read_row(envelope: &Envelope, room: RoomId, read: &MessageRead) -> ReadRow {
    ReadRow { room, message: read.id, reader: read.by, at: envelope.at(), position: envelope.position() }
}

fn amendment(envelope: &Envelope, message: MessageId, by: AccountId, text: Option<String>) -> AmendmentRow {
    AmendmentRow { message, text, by, at: envelope.at(), position: envelope.position() }
}

/// The later amendment stands, but nothing comes after a deletion.
fn amend(amendments: &mut HashMap<MessageId, AmendmentRow>, row: AmendmentRow) {
    let is_deleted = amendments.get(&row.message).is_some_and(|standing| standing.text.is_none());
    if !is_deleted {
        amendments.insert(row.message, row);
    }
}

fn sightings(envelope: &Envelope, seen: &ViewersSeen) -> Vec<Sighting> {
    let until = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_else(|| envelope.at());
    seen.seen
        .iter()
        .map(|(room, person, until_ms)| Sighting {
            room: *room,
            person: *person,
            seen_at: envelope.at(),
            counted_until: until(*until_ms),
        })
        .collect()
}

/// Parks an entry. Where it had a place in a room, a placeholder keeps that place, so the room's numbers stay dense.
fn park<'a>(
    rows: &mut Rows<'a>,
    envelope: &'a Envelope,
    sqlstate: Option<String>,
    reason: &str,
    partitions: u16,
) {
    rows.parked.push(Parking { envelope, sqlstate, reason: reason.to_owned() });
    if let Some(room) = envelope.room {
        rows.messages.push(MessageRow {
            id: MessageId(Uuid::new_v5(&room.0, envelope.entry.to_string().as_bytes())),
            no: envelope.message_no(partitions),
            room,
            author: AccountId(Uuid::nil()),
            position: envelope.position(),
            kind: UNREADABLE,
            content: None,
            digest: [0; 32],
            nonce: String::new(),
            roles: Roles::NONE,
            at: envelope.at(),
            is_direct: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use shared::event::{LikeTarget, MessageDeleted, MessageEdited};
    use shared::id::{EntryId, MessageNo, Partition};
    use shared::user::Author;

    const P: u16 = 16;

    fn envelope(pseq: u32, room: Option<RoomId>, body: &[u8]) -> Envelope {
        Envelope {
            partition: Partition::numbered(2),
            entry: EntryId { epoch: 1, pseq },
            room,
            to: vec![],
            seq: u64::from(pseq),
            prev: 0,
            at_ms: 1_700_000_000_000 + i64::from(pseq),
            total: None,
            body: Bytes::copy_from_slice(body),
        }
    }

    fn room() -> RoomId {
        RoomId(Uuid::from_u128(1))
    }

    fn person(n: u128) -> AccountId {
        AccountId(Uuid::from_u128(n))
    }

    fn like(n: u128, liked: bool) -> Vec<u8> {
        Event::LikeChanged(LikeChanged { target: LikeTarget::Session, person: person(n), liked }).to_body()
    }

    #[test]
    fn a_message_becomes_a_row_at_its_place() {
        let author = Author {
            id: person(5),
            no: 9,
            username: "ana".into(),
            full_name: None,
            avatar: None,
            roles: Roles::NONE,
        };
        let id = MessageId(Uuid::from_u128(77));
        let sent = Event::MessageSent(MessageSent {
            id,
            author,
            text: "hi".into(),
            nonce: "n".into(),
            origin: None,
        });
        let envelopes = [envelope(3, Some(room()), &sent.to_body())];
        let rows = rows(&envelopes, P);
        assert_eq!(rows.messages.len(), 1);
        assert_eq!(rows.messages[0].digest, digest(b"hi"));
        assert_eq!(
            rows.messages[0].no.place(P),
            Some((Partition::numbered(2), EntryId { epoch: 1, pseq: 3 }))
        );
        assert_eq!(rows.heads[&room()], Position { epoch: 1, seq: 3 });
        assert_eq!(rows.newest[&room()].timestamp_millis(), 1_700_000_000_003);
    }

    #[test]
    fn of_many_changes_to_one_like_the_last_counts() {
        let envelopes = [
            envelope(1, Some(room()), &like(5, true)),
            envelope(2, Some(room()), &like(6, true)),
            envelope(3, Some(room()), &like(5, false)),
        ];
        let rows = rows(&envelopes, P);
        let state = |n| rows.likes.iter().find(|row| row.person == person(n)).map(|row| row.liked);
        assert_eq!((rows.likes.len(), state(5), state(6)), (2, Some(false), Some(true)));
        assert!(rows.newest.is_empty(), "a like is no message");
    }

    #[test]
    fn of_many_amendments_the_last_stands_and_none_comes_after_a_deletion() {
        let (id, other) = (MessageId(Uuid::from_u128(7)), MessageId(Uuid::from_u128(8)));
        let edit = |id, text: &str| {
            let edit = MessageEdited { id, no: MessageNo(1), by: person(5), text: text.into() };
            Event::MessageEdited(edit).to_body()
        };
        let deletion = MessageDeleted { id, no: MessageNo(1), by: person(6) };
        let envelopes = [
            envelope(1, Some(room()), &edit(id, "one")),
            envelope(2, Some(room()), &edit(other, "two")),
            envelope(3, Some(room()), &Event::MessageDeleted(deletion).to_body()),
            envelope(4, Some(room()), &edit(id, "too late")),
            envelope(5, Some(room()), &edit(other, "three")),
        ];
        let rows = rows(&envelopes, P);
        let stands = |id| rows.amendments.iter().find(|row| row.message == id).expect("a row");
        assert_eq!(
            (stands(id).text.as_deref(), stands(id).by, stands(id).position.seq),
            (None, person(6), 3)
        );
        assert_eq!((stands(other).text.as_deref(), stands(other).position.seq), (Some("three"), 5));
    }

    #[test]
    fn what_cannot_be_read_is_parked_and_keeps_its_place() {
        for body in [&b""[..], b"{", b"{\"event\":\"later\"}", &[0xff, 0xfe], b"[]"] {
            let envelopes = [envelope(4, Some(room()), body)];
            let rows = rows(&envelopes, P);
            assert_eq!(rows.parked.len(), 1, "{body:?}");
            assert_eq!(rows.messages[0].kind, UNREADABLE);
            assert_eq!(rows.messages[0].position.seq, 4);
            assert_eq!(rows.parked[0].envelope.body, body);
        }
        let homeless = [envelope(4, None, &like(5, true))];
        let rows = rows(&homeless, P);
        assert_eq!((rows.parked.len(), rows.messages.len()), (1, 0));
    }

    #[test]
    fn a_heartbeat_names_no_room_of_its_own() {
        let seen = Event::ViewersSeen(ViewersSeen { seen: vec![(room(), person(5), 1_700_000_030_000)] });
        let envelopes = [envelope(4, None, &seen.to_body())];
        let rows = rows(&envelopes, P);
        assert_eq!(rows.sightings[0].counted_until.timestamp_millis(), 1_700_000_030_000);
        assert!(rows.heads.is_empty());
    }
}
