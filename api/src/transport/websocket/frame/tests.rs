//! RFC 6455 rule by rule, the limits, and the property that pieces never matter.

use super::{Event, Parser, Violation, binary_frame, close_frame, ping_frame, pong_frame, text_frame};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// A client's frame with the shortest length form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

type Outcome = (Vec<Event>, Result<(), Violation>);

fn parse_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    let now = Instant::now();
    for piece in pieces {
        if let Err(violation) = parser.feed(&mut piece.to_vec(), now, &mut events) {
            return (events, Err(violation));
        }
    }
    (events, Ok(()))
}

fn parse(bytes: &[u8]) -> Outcome {
    let whole = parse_pieces([bytes]);
    assert_eq!(whole, parse_pieces(bytes.chunks(1)), "byte by byte differs from all at once");
    whole
}

fn protocol_error(bytes: &[u8]) -> bool {
    matches!(parse(bytes).1, Err(Violation::Protocol(_)))
}

#[test]
fn whole_messages_of_every_length_form() {
    for length in [0, 1, 7, 8, 9, 125, 126, 127, 4096, 65_535, 65_536] {
        let letters = "x".repeat(length);
        assert_eq!(
            parse(&frame(FIN | TEXT, letters.as_bytes())),
            (vec![text(&letters)], Ok(())),
            "{length} letters"
        );
        let bytes: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
        assert_eq!(
            parse(&frame(FIN | BINARY, &bytes)),
            (vec![Event::Binary(bytes.clone())], Ok(())),
            "{length} bytes"
        );
    }
}

#[test]
fn lengths_in_a_longer_form_than_needed_are_taken() {
    let mut medium = vec![FIN | TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0];
    medium.extend_from_slice(b"ok");
    let mut long = vec![FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    long.extend_from_slice(b"ok");
    assert_eq!(parse(&[medium, long].concat()), (vec![text("ok"), text("ok")], Ok(())));
}

#[test]
fn a_frame_without_a_mask_is_refused() {
    assert!(protocol_error(&[FIN | TEXT, 2, b'h', b'i']));
    assert!(protocol_error(&[FIN | PING, 0]));
}

#[test]
fn s19_reserved_bits_are_refused_since_no_extension_is_negotiated() {
    for bits in 1..8_u8 {
        assert!(protocol_error(&frame(FIN | TEXT | bits << 4, b"hi")), "reserved bits {bits:03b}");
        assert!(protocol_error(&frame(FIN | PING | bits << 4, b"")), "reserved bits {bits:03b} on a ping");
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        assert!(protocol_error(&frame(FIN | opcode, b"")), "opcode {opcode:#x}");
        assert!(protocol_error(&frame(FIN | opcode, b"payload")), "opcode {opcode:#x} with a payload");
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    assert_eq!(parse(&frame(FIN | PING, &[7; 125])).0, [Event::Ping(vec![7; 125])]);
    for opcode in [CLOSE, PING, PONG] {
        assert!(protocol_error(&frame(FIN | opcode, &[0; 126])), "126 bytes in {opcode:#x}");
        assert!(protocol_error(&frame(opcode, b"")), "a fragment of {opcode:#x}");
    }
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let stream = [
        frame(TEXT, b"a"),
        frame(FIN | PING, b"there?"),
        frame(0, b"b"),
        frame(FIN | PONG, b"unasked"),
        frame(0, b""),
        frame(FIN, b"c"),
    ];
    let events = vec![Event::Ping(b"there?".to_vec()), Event::Pong, text("abc")];
    assert_eq!(parse(&stream.concat()), (events, Ok(())));
}

#[test]
fn fragments_come_in_order_or_not_at_all() {
    assert!(protocol_error(&frame(FIN, b"of nothing")), "a final continuation of nothing");
    assert!(protocol_error(&frame(0, b"of nothing")), "a continuation of nothing");
    for opcode in [TEXT, BINARY] {
        assert!(
            protocol_error(&[frame(TEXT, b"a"), frame(FIN | opcode, b"b")].concat()),
            "a message inside a text"
        );
        assert!(
            protocol_error(&[frame(BINARY, b"a"), frame(opcode, b"b")].concat()),
            "a message inside a binary"
        );
    }
    let twice = [frame(TEXT, b"a"), frame(FIN, b"b"), frame(FIN, b"c")].concat();
    assert_eq!(parse(&twice).0, [text("ab")]);
    assert!(protocol_error(&twice), "a continuation after the final one");
}

#[test]
fn characters_may_be_cut_by_fragments() {
    let letters = "κόσμε €𝄞";
    for cut in 0..=letters.len() {
        let (head, tail) = letters.as_bytes().split_at(cut);
        assert_eq!(
            parse(&[frame(TEXT, head), frame(FIN, tail)].concat()),
            (vec![text(letters)], Ok(())),
            "cut at {cut}"
        );
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let bad: &[&[u8]] = &[
        b"\x80",                     // a continuation byte alone
        b"\xc0\xaf",                 // an overlong slash
        b"\xed\xa0\x80",             // a surrogate
        b"\xf4\x90\x80\x80",         // beyond U+10FFFF
        b"\xf5",                     // never legal
        b"\xce\xba\xed\xa0\x80edit", // a surrogate after good text
        b"cut \xe2\x82",             // ends inside a character
    ];
    for bytes in bad {
        assert_eq!(parse(&frame(FIN | TEXT, bytes)), (vec![], Err(Violation::InvalidUtf8)), "{bytes:x?}");
        let halves = [frame(TEXT, &bytes[..bytes.len() / 2]), frame(FIN, &bytes[bytes.len() / 2..])].concat();
        assert_eq!(parse(&halves).1, Err(Violation::InvalidUtf8), "{bytes:x?} in two fragments");
        assert_eq!(parse(&frame(FIN | BINARY, bytes)).1, Ok(()), "the same bytes as binary");
    }
}

#[test]
fn bad_text_is_refused_at_the_byte_that_spoils_it() {
    let stream = frame(TEXT, b"\xce\xba\xf4\x90\x80\x80 and much more that is never read");
    let header = 6;
    for (spoiled, length) in [(false, header + 3), (true, header + 4)] {
        assert_eq!(parse(&stream[..length]).1.is_err(), spoiled, "after {length} bytes");
    }
}

#[test]
fn close_codes_follow_the_registry() {
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4408, 4999]
    {
        assert_eq!(parse(&close(code, b"bye")), (vec![Event::Close(Some(code))], Ok(())), "{code}");
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert!(protocol_error(&close(code, b"bye")), "{code}");
    }
    assert_eq!(parse(&frame(FIN | CLOSE, b"")), (vec![Event::Close(None)], Ok(())));
    assert!(protocol_error(&frame(FIN | CLOSE, b"\x03")), "half a code");
    assert_eq!(parse(&close(1000, b"\xff")).1, Err(Violation::InvalidUtf8));
    assert_eq!(parse(&close(1000, &[b'x'; 123])).0, [Event::Close(Some(1000))]);
}

#[test]
fn nothing_after_a_close_is_looked_at() {
    let stream = [close(1000, b""), frame(FIN | TEXT, b"late"), vec![0xff; 40]].concat();
    assert_eq!(parse(&stream), (vec![Event::Close(Some(1000))], Ok(())));
}

#[test]
fn s17_a_frame_over_64_kib_is_refused_by_its_header_alone() {
    let header = |length: u64| {
        let mut bytes = vec![FIN | BINARY, 0x80 | 127];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    };
    assert_eq!(parse(&header(65_536)).1, Ok(()));
    for length in [65_537, 1 << 20, 1 << 40, u64::MAX >> 1] {
        assert_eq!(parse(&header(length)).1, Err(Violation::TooLarge), "{length}");
    }
    assert!(protocol_error(&header(1 << 63)), "the top bit");
}

#[test]
fn s17_a_message_over_64_kib_is_refused_when_the_fragment_that_exceeds_it_begins() {
    let half = frame(BINARY, &vec![0; 65_536 / 2]);
    let rest = frame(FIN, &vec![0; 65_536 / 2]);
    assert_eq!(parse(&[half.clone(), rest].concat()).0, [Event::Binary(vec![0; 65_536])]);
    let over = frame(FIN, &vec![0; 65_536 / 2 + 1]);
    assert_eq!(parse(&[&half[..], &over[..8]].concat()), (vec![], Err(Violation::TooLarge)));
}

#[test]
fn s18_131072_one_byte_fragments_are_refused_at_the_65th() {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    let mut refused_at = None;
    for index in 0..131_072_u32 {
        let mut fragment = frame(if index == 0 { BINARY } else { 0 }, b"x");
        if parser.feed(&mut fragment, Instant::now(), &mut events).is_err() {
            refused_at.get_or_insert(index);
        }
        let held = parser.held();
        assert!(held <= 128, "{held} bytes held after fragment {index}");
    }
    assert_eq!(refused_at, Some(64));
    assert_eq!(events, []);
}

#[test]
fn s18_a_declared_length_reserves_nothing() {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    let mut start = frame(FIN | BINARY, &[0; 60_000]);
    start.truncate(8 + 10);
    parser.feed(&mut start, Instant::now(), &mut events).unwrap();
    let held = parser.held();
    assert!(held <= 64, "{held} bytes reserved for 10 that came");
}

#[test]
fn s18_what_is_unfinished_is_known_since_it_began() {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut feed = |mut bytes: Vec<u8>, seconds| {
        parser.feed(&mut bytes, at(seconds), &mut events).unwrap();
        parser.unfinished_since()
    };
    assert_eq!(feed(frame(FIN | TEXT, b"whole"), 0), None);
    assert_eq!(feed(vec![FIN | TEXT], 1), Some(at(1)), "one byte of a header");
    assert_eq!(feed(frame(FIN | TEXT, b"x")[1..].to_vec(), 2), None);
    assert_eq!(feed(frame(TEXT, b"first"), 3), Some(at(3)));
    assert_eq!(feed(frame(FIN | PING, b""), 4), Some(at(3)), "a ping in between finishes nothing");
    assert_eq!(
        feed([frame(FIN, b"last"), frame(TEXT, b"next")].concat(), 5),
        Some(at(5)),
        "another one began"
    );
    assert_eq!(feed(frame(FIN | CLOSE, b""), 6), None);
}

#[test]
fn an_idle_parser_holds_no_buffer() {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    parser.feed(&mut frame(FIN | TEXT, &[b'x'; 60_000]), Instant::now(), &mut events).unwrap();
    assert!(parser.message.is_none() && parser.at_rest());
    assert!(size_of::<Parser>() <= 144, "{} bytes", size_of::<Parser>());
}

#[test]
fn every_split_of_a_stream_gives_the_same_events() {
    let stream = [
        frame(FIN | TEXT, "grüße €".as_bytes()),
        frame(BINARY, &[1; 200]),
        frame(FIN | PING, b"12345"),
        frame(FIN, &[2; 130]),
        frame(TEXT, "half a \u{20ac}".as_bytes().split_at(8).0),
        frame(FIN, "half a \u{20ac}".as_bytes().split_at(8).1),
        close(1001, b"away"),
    ]
    .concat();
    let whole = parse_pieces([&stream[..]]);
    assert_eq!(whole.0.len(), 5);
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(parse_pieces([head, tail]), whole, "cut at {cut}");
    }
}

#[test]
fn our_frames_have_the_shortest_length_form_and_no_mask() {
    assert_eq!(&text_frame(b"hi")[..], b"\x81\x02hi");
    assert_eq!(&binary_frame(b"")[..], b"\x82\x00");
    assert_eq!(&ping_frame()[..], b"\x89\x00");
    assert_eq!(&pong_frame(b"p")[..], b"\x8a\x01p");
    assert_eq!(&close_frame(Some(1012), "come back")[..], b"\x88\x0b\x03\xf4come back");
    assert_eq!(&close_frame(None, "")[..], b"\x88\x00");
    assert_eq!(&text_frame(&[b'x'; 125])[..2], b"\x81\x7d");
    assert_eq!(&text_frame(&[b'x'; 126])[..4], b"\x81\x7e\x00\x7e");
    assert_eq!(&text_frame(&[b'x'; 65_535])[..4], b"\x81\x7e\xff\xff");
    assert_eq!(&text_frame(&[b'x'; 65_536])[..10], b"\x81\x7f\0\0\0\0\0\x01\0\0");
}

/// A stream of mostly sensible frames, so that the property reaches beyond the first header.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![FIN | TEXT, TEXT, 0, FIN, FIN | BINARY, BINARY, FIN | PING, FIN | PONG]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => ".{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    prop::collection::vec((first, payload), 0..12)
        .prop_map(|frames| frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same(
        bytes in prop_oneof![plausible(), prop::collection::vec(any::<u8>(), 0..200)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(parse_pieces(pieces), parse_pieces([&bytes[..]]));
    }
}
