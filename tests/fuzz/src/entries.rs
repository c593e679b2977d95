//! Entries of the log: an event that is read is written back as it was; an entry says what its fields say, and rubbish in
//! one field spoils no other; an answer of Redis is all of its entries or none.

use bytes::Bytes;
use redis::Value;
use shared::decoders;
use shared::event::{
    Became, Envelope, Event, LikeChanged, LikeTarget, MembershipChanged, MessageDeleted, MessageEdited,
    MessageRead, MessageSent, Origin, ViewersSeen, to_field,
};
use shared::id::{AccountId, BootId, EntryId, MessageId, MessageNo, Partition, RoomId};
use shared::user::{Author, Role};
use uuid::Uuid;

use crate::input::{Input, decimal, piece};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const PARTITIONS: u16 = 16;
const PARTITION: Partition = Partition::numbered(3);
const NAMES: [&[u8]; 8] = [b"room", b"to", b"seq", b"prev", b"at", b"total", b"body", b"later"];

/// A body; or fields; or an answer of Redis, as values or as bytes; or a room's counter.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => body(input.0),
        1 => entry(&mut input),
        2 => answer(&mut input),
        3 => bytes_of_redis(input.0),
        _ => std::str::from_utf8(input.0).is_ok_and(counter),
    }
}

fn body(body: &[u8]) -> bool {
    let Ok(event) = Event::from_body(body) else { return false };
    let again = Event::from_body(&event.to_body()).expect("what we write can be read");
    assert_eq!(again, event);
    true
}

fn entry(input: &mut Input<'_>) -> bool {
    let id = EntryId { epoch: input.small() % 65_536, pseq: input.small() };
    let fields = fields(input);
    let envelope = Envelope::from_fields(PARTITION, id, fields.clone());
    says_its_fields(&envelope, &fields);
    assert_eq!(Envelope::from_fields(PARTITION, id, written(&envelope)), envelope);

    assert_eq!((envelope.position().epoch, envelope.position().seq), (id.epoch, envelope.seq));
    let _ = (envelope.at(), envelope.event().is_ok());
    let no = envelope.message_no(PARTITIONS);
    assert_eq!(no.place(PARTITIONS), (id.pseq > 0).then_some((PARTITION, id)));
    assert!((0..1 << 53).contains(&no.0), "a JavaScript number holds {no}");
    envelope.room.is_some() && envelope.seq > 0
}

fn fields(input: &mut Input<'_>) -> Fields {
    let mut fields = Vec::new();
    while !input.is_used_up() {
        let known = NAMES.get(usize::from(input.byte()) % (NAMES.len() + 1)).copied();
        fields.push((known.unwrap_or_else(|| input.piece()).to_vec(), input.piece().to_vec()));
    }
    fields
}

/// The last field of a name counts; one that is no number is none.
fn says_its_fields(envelope: &Envelope, fields: &Fields) {
    let last =
        |name: &str| fields.iter().rev().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value);
    let text = |name: &str| last(name).and_then(|value| std::str::from_utf8(value).ok());
    let unsigned = |name: &str| {
        text(name).filter(|text| !text.starts_with('-')).and_then(|text| text.parse::<i128>().ok())
    };
    let signed = |name: &str| {
        text(name).and_then(|text| text.parse::<i128>().ok()).and_then(|n| i64::try_from(n).ok())
    };
    assert_eq!(envelope.seq, unsigned("seq").and_then(|n| n.try_into().ok()).unwrap_or(0));
    assert_eq!(envelope.prev, unsigned("prev").and_then(|n| n.try_into().ok()).unwrap_or(0));
    assert_eq!((envelope.at_ms, envelope.total), (signed("at").unwrap_or(0), signed("total")));
    assert_eq!(envelope.body, last("body").map(Vec::as_slice).unwrap_or_default());
    if let Some(room) = envelope.room {
        assert!(names(text("room").unwrap_or_default(), room.0), "the room is another one");
    }
    let mut words = text("to").unwrap_or_default().split_ascii_whitespace();
    for person in &envelope.to {
        assert!(words.any(|word| names(word, person.0)), "{person} is not named, or not in this order");
    }
}

/// Whether these are the digits of `id`, in any of its spellings.
fn names(text: &str, id: Uuid) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.to_ascii_lowercase().ends_with(&id.simple().to_string())
}

/// The fields as a producer writes them.
fn written(envelope: &Envelope) -> Fields {
    let field = |name: &str, value: String| (name.as_bytes().to_vec(), value.into_bytes());
    let mut fields = vec![
        field("seq", envelope.seq.to_string()),
        field("prev", envelope.prev.to_string()),
        field("at", envelope.at_ms.to_string()),
        field("to", to_field(&envelope.to)),
        (b"body".to_vec(), envelope.body.to_vec()),
    ];
    fields.extend(envelope.room.map(|room| field("room", room.to_string())));
    fields.extend(envelope.total.map(|total| field("total", total.to_string())));
    fields
}

/// As XREAD answers: one stream with its entries, each an id and names and values by turns.
fn answer(input: &mut Input<'_>) -> bool {
    let mut entries: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
    while !input.is_used_up() {
        let parts = input.byte() % 8;
        entries.push((input.piece().to_vec(), (0..parts).map(|_| input.piece().to_vec()).collect()));
    }
    let bulk = |bytes: &Vec<u8>| Value::BulkString(bytes.clone());
    let value = |(id, parts): &(Vec<u8>, Vec<Vec<u8>>)| {
        Value::Array(vec![bulk(id), Value::Array(parts.iter().map(bulk).collect())])
    };
    let stream =
        Value::Array(vec![bulk(&b"log".to_vec()), Value::Array(entries.iter().map(value).collect())]);
    let read = decoders::entries(PARTITION, Value::Array(vec![stream]));

    let ids: Option<Vec<EntryId>> = entries.iter().map(|(id, _)| entry_id(id)).collect();
    let pairs =
        |parts: &Vec<Vec<u8>>| parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let expected = ids.map(|ids| {
        let with_parts = ids.into_iter().zip(&entries);
        with_parts.map(|(id, (_, parts))| Envelope::from_fields(PARTITION, id, pairs(parts))).collect()
    });
    assert_eq!(read, expected);
    read.is_some_and(|read: Vec<Envelope>| !read.is_empty())
}

fn entry_id(text: &[u8]) -> Option<EntryId> {
    let dash = text.iter().position(|byte| *byte == b'-')?;
    let (epoch, pseq) = (decimal(&text[..dash])?, decimal(&text[dash + 1..])?);
    Some(EntryId { epoch: epoch.try_into().ok()?, pseq: pseq.try_into().ok()? })
}

/// Whatever form of answer there is in Redis' protocol.
fn bytes_of_redis(bytes: &[u8]) -> bool {
    redis::parse_redis_value(bytes).is_ok_and(|value| decoders::entries(PARTITION, value).is_some())
}

fn counter(text: &str) -> bool {
    let words: Vec<Option<u64>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    let head = decoders::counter(7, text);
    let found =
        head.map(|head| [u64::from(head.position.epoch), head.position.seq, head.number, head.restricting]);
    let expected = match words.as_slice() {
        [Some(seq), Some(_), Some(number), Some(restricting), ..] => Some([7, *seq, *number, *restricting]),
        _ => None,
    };
    assert_eq!(found, expected);
    found.is_some()
}

/// One of each event.
pub(crate) fn events() -> Vec<Event> {
    let (id, no) = (MessageId(Uuid::from_u128(5)), MessageNo(99));
    let (person, by) = (AccountId(Uuid::from_u128(6)), AccountId(Uuid::from_u128(9)));
    let author = Author {
        id: person,
        no: 7,
        username: "ana".into(),
        full_name: Some("Ana Anic".into()),
        avatar: Some("https://example.org/a.png".into()),
        roles: [Role::Winner, Role::Host].into_iter().collect(),
    };
    vec![
        Event::MessageSent(MessageSent {
            id,
            author,
            text: "h\u{e9}llo \"\u{1F600}".into(),
            nonce: "n".into(),
            origin: Some(Origin { node: BootId(Uuid::from_u128(4)), connection: 7, send: 2 }),
        }),
        Event::LikeChanged(LikeChanged { target: LikeTarget::Session, person, liked: true }),
        Event::LikeChanged(LikeChanged { target: LikeTarget::Message { id, no }, person, liked: false }),
        Event::MessageEdited(MessageEdited { id, no, by, text: "y".into() }),
        Event::MessageDeleted(MessageDeleted { id, no, by }),
        Event::MessageRead(MessageRead { id, no, by }),
        Event::MembershipChanged(MembershipChanged { number: 3, person, by, became: Became::Banned }),
        Event::ViewersSeen(ViewersSeen {
            seen: vec![(RoomId(Uuid::from_u128(8)), person, 1_700_000_000_000)],
        }),
    ]
}

/// Bodies, fields, answers and a counter as they are in earnest.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let people = [AccountId(Uuid::from_u128(2)), AccountId(Uuid::from_u128(3))];
    let envelope = Envelope {
        partition: PARTITION,
        entry: EntryId { epoch: 2, pseq: 9 },
        room: Some(RoomId(Uuid::from_u128(1))),
        to: people.to_vec(),
        seq: 4,
        prev: 8,
        at_ms: 1_700_000_000_123,
        total: Some(-12),
        body: Bytes::from_static(b"{}"),
    };
    let fields = written(&envelope);
    let numbered = |name: &[u8]| NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len());
    let name = |name: &[u8]| vec![u8::try_from(numbered(name)).expect("there are few names")];
    let flat: Vec<u8> =
        fields.iter().flat_map(|(field, value)| [name(field), piece(value)].concat()).collect();
    let entry = [&[2][..], &piece(b"2-9"), &piece(b"seq"), &piece(b"4")].concat();
    let redis = b"*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n$3\r\n2-9\r\n*2\r\n$3\r\nseq\r\n$1\r\n4\r\n";

    let mut seeds: Vec<Vec<u8>> = events().iter().map(|event| [vec![0], event.to_body()].concat()).collect();
    seeds.push([&[1, 0, 0, 0, 2, 0, 0, 0, 9], flat.as_slice()].concat());
    seeds.push([&[2][..], &entry, &entry].concat());
    seeds.push([&[3][..], redis].concat());
    seeds.push(b"\x0441 8 3 2".to_vec());
    seeds
}
