//! Frames of the server: whole, unmasked, never fragmented, built once and shared by everybody who gets them.

use super::CONTROL_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};

const FIN: u8 = 0x80;

/// A text message as one frame. The caller vouches that the bytes are UTF-8.
pub(crate) fn text_frame(text: &[u8]) -> Bytes {
    frame(0x1, text)
}

/// A binary message as one frame.
pub(crate) fn binary_frame(payload: &[u8]) -> Bytes {
    frame(0x2, payload)
}

/// The ping that asks a silent peer whether it is there. It needs no payload: any byte that comes back is a sign of life.
pub(crate) fn ping_frame() -> Bytes {
    Bytes::from_static(&[FIN | 0x9, 0])
}

/// The answer to a ping; `payload` is the ping's.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(0xA, cut(payload))
}

/// A close frame, empty when there is no code (the answer to a close that had none). Reasons are ours: short and ASCII.
pub(crate) fn close_frame(code: Option<u16>, reason: &'static str) -> Bytes {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    frame(0x8, cut(&payload))
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_BYTES_MAX)]
}

/// One final frame with the shortest form of its length, as RFC 6455 5.2 requires of senders.
fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    bytes.put_u8(FIN | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => bytes.put_u8(short),
        (_, Ok(medium)) => {
            bytes.put_u8(126);
            bytes.put_u16(medium);
        }
        (_, Err(_)) => {
            bytes.put_u8(127);
            bytes.put_u64(payload.len() as u64);
        }
    }
    bytes.put_slice(payload);
    bytes.freeze()
}
