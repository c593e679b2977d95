//! What a request says beside its body: the handshake, the token it brings, whom it came from, the query, the names in it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use api::decoders;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use shared::id::{AccountId, EntryId, MessageId, MessageNo, Partition, Position, RoomId};
use uuid::Uuid;

use crate::input::{Input, decimal};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PAGE_CAP: u32 = 100;

type Line<'a> = (&'a [u8], &'a [u8]);

/// Headers for one of three readers, or a query as text or in numbers, or names.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    match input.byte() % 6 {
        0 => handshake(&lines(input.0)),
        1 => credential(input.0),
        2 => client_ip(&lines(input.0)),
        3 => std::str::from_utf8(input.0).is_ok_and(query),
        4 => numbers(&mut input),
        _ => std::str::from_utf8(input.0).is_ok_and(names),
    }
}

/// Lines of headers, without those that HTTP would not let through.
fn lines(bytes: &[u8]) -> Vec<Line<'_>> {
    let is_value = |value: &[u8]| value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    lines.filter(|(_, value)| is_value(value)).take(1_000).collect()
}

fn values<'a>(lines: &[Line<'a>], name: &str) -> Vec<&'a [u8]> {
    lines
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| *value)
        .collect()
}

/// Only who asks for version 13 with one key of 16 bytes is let in, and hears the key's answer.
fn handshake(lines: &[Line<'_>]) -> bool {
    let lists = |name, token: &str| {
        let mut listed = values(lines, name).into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        listed.any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    let answer = decoders::handshake(lines);
    if let Some(answer) = &answer {
        assert!(lists("connection", "upgrade") && lists("upgrade", "websocket"), "no upgrade was asked for");
        assert_eq!(values(lines, "sec-websocket-version").first(), Some(&b"13".as_slice()));
        let keys = values(lines, "sec-websocket-key");
        assert_eq!(keys.len(), 1, "one key");
        assert_eq!(STANDARD.decode(keys[0]).expect("the key is base64").len(), 16);
        let salted = [keys[0], b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
        assert_eq!(answer, STANDARD.encode(Sha1::digest(&salted)).as_bytes());
    }
    answer.is_some()
}

/// A token is a piece of what was sent: of the header if that has one, else of the query, else of the cookie.
fn credential(bytes: &[u8]) -> bool {
    let (query, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let (query, lines) = (std::str::from_utf8(query).ok(), lines(rest));
    let token = decoders::credential(&lines, query);
    let header = values(&lines, "authorization").into_iter().find(|value| value.is_ascii());
    if let Some(token) = &token {
        let mut places: Vec<&[u8]> = values(&lines, "cookie");
        places.extend(values(&lines, "authorization"));
        places.extend(query.map(str::as_bytes));
        let is_in = |place: &&[u8]| String::from_utf8_lossy(place).contains(token.as_str());
        assert!(places.iter().any(is_in), "{token:?} was never sent");
    }
    if header.is_some_and(|value| value.starts_with(b"Bearer ")) && values(&lines, "authorization").len() == 1
    {
        let sent =
            header.and_then(|value| std::str::from_utf8(&value[7..]).ok()).map(|sent| sent.trim_matches(' '));
        assert_eq!(token.as_deref(), sent, "the header wins");
    }
    token.is_some()
}

/// A stranger speaks for nobody else; behind our proxy it is the last address that another proxy did not write.
fn client_ip(lines: &[Line<'_>]) -> bool {
    assert_eq!(decoders::client_ip(STRANGER, PROXY, lines), STRANGER);
    let hops = values(lines, "x-forwarded-for").join(&b',');
    let read = |hop: &[u8]| -> Option<IpAddr> {
        let text = std::str::from_utf8(hop).ok()?.trim();
        let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
        address.map(|address| address.to_canonical())
    };
    let mut expected = PROXY;
    for hop in hops.rsplit(|byte| *byte == b',').map(read) {
        match hop {
            Some(address) if expected == PROXY => expected = address,
            _ => break,
        }
    }
    assert_eq!(decoders::client_ip(PROXY, PROXY, lines), expected);
    expected != PROXY
}

fn query(query: &str) -> bool {
    let address = format!("/live-chat?{query}");
    let page = decoders::live_chat_page(&address, PAGE_CAP);
    if let Some((limit, _)) = page {
        assert!((1..=PAGE_CAP).contains(&limit), "a page of {limit}");
    }
    let socket = decoders::live_chat_socket(&address);
    if let Some((Some(after), _)) = socket {
        assert_eq!(decoders::live_chat_socket(&format!("/?after={after}")), Some((Some(after), false)));
    }
    page.is_some() && socket.is_some()
}

/// What is written as it should be is read as it was meant.
fn numbers(input: &mut Input<'_>) -> bool {
    let (limit, before) = (input.number() >> (input.byte() % 64), input.number().cast_signed());
    let page = decoders::live_chat_page(&format!("/?x=1&limit={limit}&before={before}&limit=7"), PAGE_CAP);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(PAGE_CAP);
    assert_eq!(page, (limit > 0).then_some((limit, Some(before))));

    let after = Position { epoch: input.small(), seq: input.number() };
    let entry = EntryId { epoch: after.epoch, pseq: input.small() };
    let coded = after.to_string().replace(':', "%3A");
    let socket = decoders::live_chat_socket(&format!("/?close_codes=1&after={coded}"));
    assert_eq!(socket, Some((Some(after), true)));
    assert_eq!((after.to_string().parse(), entry.to_string().parse()), (Ok(after), Ok(entry)));

    let partitions = 1 + u16::try_from(input.small() % u32::from(Partition::MOST)).expect("few");
    if let Some((partition, entry)) = MessageNo(before).place(partitions) {
        assert!(partition.number() < partitions && entry.pseq > 0, "{entry} of {partition}");
        assert_eq!(MessageNo::of(entry, partition, partitions), MessageNo(before));
    }
    let id = MessageId(Uuid::from_u128(input.wide()));
    assert!(id.partition(partitions).is_none_or(|partition| partition.number() < partitions), "{id}");
    limit > 0
}

/// Names that can be read are written so that they can be read again, and what is read are digits.
fn names(text: &str) -> bool {
    let pair = |between: char| -> Option<(u32, u64)> {
        let (left, right) = text.split_once(between)?;
        Some((decimal(left.as_bytes())?.try_into().ok()?, decimal(right.as_bytes())?.try_into().ok()?))
    };
    let position = text.parse::<Position>().ok();
    assert_eq!(position.map(|found| (found.epoch, found.seq)), pair(':'));
    let entry = text.parse::<EntryId>().ok();
    let expected = pair('-').filter(|(_, pseq)| u32::try_from(*pseq).is_ok());
    assert_eq!(entry.map(|found| (found.epoch, u64::from(found.pseq))), expected);
    let room = text.parse::<RoomId>().ok();
    assert!(room.is_none_or(|room| room.to_string().parse() == Ok(room)), "{text}");
    assert_eq!(text.parse::<AccountId>().ok().map(|account| account.0), room.map(|room| room.0));
    position.is_some() || entry.is_some() || room.is_some()
}

/// Requests as clients send them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let upgrade = "connection: keep-alive, Upgrade\nupgrade: WebSocket\nsec-websocket-version: 13\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let seeds: [(u8, &str); 11] = [
        (0, upgrade),
        (1, "after=0:1&token=q&x=y\ncookie: theme=dark; hubbub_session=c"),
        (1, "\ncookie: theme=dark; hubbub_session=c; x=y"),
        (1, "token=q\nauthorization: Bearer h"),
        (2, "x-forwarded-for: 1.1.1.1, 198.51.100.7, 10.0.0.1"),
        (2, "x-forwarded-for: [2001:db8::7]:4711\nX-Forwarded-For: ::ffff:10.0.0.1"),
        (3, "limit=20&before=17&after=2%3A41&close_codes=1"),
        (4, "\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\0\x11\0\0\0\x02\0\0\0\0\0\0\0\x29\0\0\0\x09\0\0\0\x0f"),
        (5, "2:41"),
        (5, "3-00000000041"),
        (5, "6F9619FF-8B86-4011-B42D-00CF4FC964FF"),
    ];
    seeds.iter().map(|(reader, text)| [&[*reader], text.as_bytes()].concat()).collect()
}
