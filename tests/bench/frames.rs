//! Just enough of WebSocket to listen to a thousand sockets for next to nothing: the head of each frame is read, the
//! payload is handed on where it lies, and nothing is unmasked, decoded or copied that came in whole.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest answer to an upgrade request, in bytes.
const ANSWER_BYTES_MAX: usize = 8_192;

/// What the listener has to know of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code and reason.
    Close(&'a [u8]),
    Other,
}

/// Cuts what one server sends into frames.
#[derive(Default)]
pub(crate) struct Cutter {
    /// The beginning of a frame whose end has not come yet.
    rest: Vec<u8>,
}

impl Cutter {
    /// Calls `each` for every frame that is complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], each: impl FnMut(Frame<'_>)) {
        if self.rest.is_empty() {
            let used = cut(bytes, each);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = cut(&self.rest, each);
            self.rest.drain(..used);
        }
    }
}

/// Answers how many bytes the complete frames took.
fn cut(bytes: &[u8], mut each: impl FnMut(Frame<'_>)) -> usize {
    let mut used = 0;
    while let Some((head, length)) = head(&bytes[used..]) {
        let Some(payload) = bytes.get(used + head..used + head + length) else { break };
        each(match bytes[used] & 0x0f {
            1 => Frame::Text(payload),
            8 => Frame::Close(payload),
            9 => Frame::Ping(payload),
            _ => Frame::Other,
        });
        used += head + length;
    }
    used
}

/// The lengths of a frame's head and payload. Servers do not mask.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            Some((10, usize::try_from(length).ok()?))
        }
        length => Some((2, usize::from(length))),
    }
}

/// The answer to a ping, masked with zeros: a client must mask, but need not hide anything.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len().min(125)).expect("it is at most 125");
    let mut frame = vec![0x8a, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..usize::from(length)]);
    frame
}

/// A text frame of a client, masked with zeros. The bench says nothing longer than two bytes can count.
pub(crate) fn say(payload: &str) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("texts of the bench are short").to_be_bytes();
    let mut frame = vec![0x81];
    match length {
        [0, short] if short < 126 => frame.push(0x80 | short),
        [high, low] => frame.extend([0x80 | 126, high, low]),
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

/// Upgrades a new connection; answers it together with what came behind the answer.
///
/// # Errors
/// What the socket says, or the first line of an answer that is not 101.
pub(crate) async fn open(node: SocketAddr, path: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    let stream = TcpStream::connect(node).await?;
    upgrade(stream, node, path).await
}

/// The same with a connection of one's own making.
///
/// # Errors
/// The same.
pub(crate) async fn upgrade(
    mut stream: TcpStream,
    node: SocketAddr,
    path: &str,
) -> io::Result<(TcpStream, Vec<u8>)> {
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES_MAX {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let first_line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
            if !first_line.starts_with("HTTP/1.1 101") {
                return Err(io::Error::other(first_line));
            }
            let leftover = answer.split_off(end + 4);
            return Ok((stream, leftover));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(short),
            _ => {
                frame.push(126);
                frame.extend_from_slice(&u16::try_from(payload.len()).expect("short").to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let long = vec![b'x'; 400];
        let stream = [text(b"one"), text(&long), vec![0x89, 2, 7, 8], text(b""), vec![0x88, 0]].concat();
        for step in 1..stream.len() {
            let mut seen = Vec::new();
            let mut cutter = Cutter::default();
            for piece in stream.chunks(step) {
                cutter.feed(piece, |frame| {
                    seen.push(match frame {
                        Frame::Text(payload) => payload.len(),
                        Frame::Ping(payload) => 1_000 + payload.len(),
                        Frame::Close(_) => 2_000,
                        Frame::Other => 3_000,
                    });
                });
            }
            assert_eq!(seen, [3, 400, 1_002, 0, 2_000], "in steps of {step}");
            assert!(cutter.rest.is_empty());
        }
    }

    #[test]
    fn what_a_client_says_carries_its_length_and_a_mask() {
        assert_eq!(say("ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        let long = say(&"x".repeat(300));
        assert_eq!((&long[..8], long.len()), (&[0x81, 0xfe, 1, 44, 0, 0, 0, 0][..], 308));
    }

    #[test]
    fn a_pong_repeats_the_ping() {
        assert_eq!(pong(&[7, 8]), [0x8a, 0x82, 0, 0, 0, 0, 7, 8]);
    }
}
