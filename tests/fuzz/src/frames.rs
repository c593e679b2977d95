//! WebSocket frames: the same bytes are the same events, in whatever pieces they come and by whoever reads them; what is
//! held is bounded by what came and by the limits; and our own frames say what they were built of.

mod model;

use api::decoders::{self, Heard};

use crate::input::Input;

/// As served, and two that short inputs can reach.
const LIMITS: [[usize; 3]; 3] = [[65_536, 65_536, 64], [125, 160, 3], [40, 60, 5]];
const WIDE: [usize; 3] = [1 << 20, 1 << 20, 1];
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Limits, a cut, and then the stream of a client.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    let limits = LIMITS[usize::from(input.byte()) % LIMITS.len()];
    let cut = input.byte();
    let stream = input.0;
    let plain = model::read(limits, stream);
    for pieces in [vec![stream], stream.chunks(1).collect(), uneven(stream, cut)] {
        let heard = decoders::frames(limits, pieces);
        assert_eq!((&heard.events, heard.violation), (&plain.events, plain.violation), "read another way");
        is_bounded(&heard, limits);
    }
    for (opcode, payload) in &plain.events {
        is_said_back(*opcode, payload);
        if cut == u8::MAX && !payload.is_empty() {
            is_said_back(0x2, &payload.repeat(1 + 66_000 / payload.len()));
        }
    }
    !plain.events.is_empty()
}

/// Pieces of 1 to 16 bytes, as a generator that `cut` starts gives them.
fn uneven(mut stream: &[u8], cut: u8) -> Vec<&[u8]> {
    let (mut pieces, mut state) = (Vec::new(), cut);
    while !stream.is_empty() {
        state = state.wrapping_mul(5).wrapping_add(17);
        let (piece, rest) = stream.split_at(stream.len().min(1 + usize::from(state >> 4)));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Buffers grow by doubling, from eight bytes on; there may be one of a message and one of a control frame.
fn is_bounded(heard: &Heard, [_, message_bytes, _]: [usize; 3]) {
    assert!(heard.held_beyond <= 2 * 8, "{} bytes more than twice of what came", heard.held_beyond);
    assert!(heard.held_most <= 2 * (message_bytes + 125), "{} bytes are over the limit", heard.held_most);
}

/// A frame of ours is whole, bare and as short as can be; masked as a client's, it is read as what it was built of.
fn is_said_back(opcode: u8, payload: &[u8]) {
    let frame = decoders::frame(opcode, payload);
    let opcode = if opcode == 0x9 { 0xA } else { opcode };
    let length = payload.len();
    let header = match length {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    assert_eq!((frame[0], frame[1] & 0x80, frame.len()), (0x80 | opcode, 0, header + length));
    assert_eq!(&frame[header..], payload);
    let heard = decoders::frames(WIDE, [&masked(&frame, header)[..]]);
    let expected = if opcode == 0xA { Vec::new() } else { payload.to_vec() };
    assert_eq!((heard.events, heard.violation), (vec![(opcode, expected)], None));
}

fn masked(frame: &[u8], header: usize) -> Vec<u8> {
    let mut bytes = frame[..header].to_vec();
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&MASK);
    bytes.extend(frame[header..].iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Streams of clients, with limits and cut before them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = |opcode: u8, payload: &[u8]| {
        let frame = decoders::frame(opcode, payload);
        masked(&frame, frame.len() - payload.len())
    };
    let part = |first: u8, payload: &[u8]| {
        let mut frame = whole(0x2, payload);
        frame[0] = first;
        frame
    };
    let euro = "10 €".as_bytes();
    let in_parts = [part(0x01, &euro[..4]), part(0x89, b"there?"), part(0x00, b""), part(0x80, &euro[4..])];
    let seed = |limits: u8, stream: Vec<u8>| [vec![limits, 7], stream].concat();
    vec![
        seed(0, whole(0x1, br#"{"type":"message","message":"hi"}"#)),
        seed(1, whole(0x1, &[b'x'; 125])),
        seed(0, whole(0x2, &[0xff; 126])),
        seed(1, in_parts.concat()),
        seed(2, [part(0x02, b"a"), part(0x00, b"b"), part(0x80, b"c"), whole(0x8, &[3, 0xe8])].concat()),
        seed(0, [whole(0xA, b""), part(0x88, b"\x03\xe9going away"), part(0x81, b"deaf")].concat()),
        seed(0, part(0x81, "κόσμε 𝄞".as_bytes())),
        seed(2, [whole(0x2, &[1; 40]), part(0x02, &[2; 40]), part(0x80, &[3; 20])].concat()),
    ]
}
