//! A client that obeys nobody: bare bytes on a TCP connection, for showing what becomes of those who misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::Answer;

/// How long a raw client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub struct Raw {
    /// The bare stream.
    pub stream: TcpStream,
    arrived: Vec<u8>,
}

/// A frame as a server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Raw {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw::of(TcpStream::connect(address).await.expect("the node listens"))
    }

    /// A client on a stream of one's own making.
    ///
    /// # Panics
    /// When the stream is broken already.
    pub fn of(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).expect("a fresh stream takes options");
        Raw { stream, arrived: Vec::new() }
    }

    /// Upgrades to a WebSocket at `path`.
    ///
    /// # Panics
    /// When the node refuses.
    pub async fn websocket(address: SocketAddr, path: &str) -> Raw {
        let mut raw = Raw::connect(address).await;
        raw.send(upgrade_request(address, path, "").as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        raw
    }

    /// Sends bytes; a server that closed meanwhile is no failure here, what it said tells more.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The head of an HTTP answer, and its body when it says how long that is.
    ///
    /// # Panics
    /// When none comes.
    pub async fn answer(&mut self) -> Answer {
        let head_ends = loop {
            if let Some(at) = self.arrived.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "an answer was expected; got {:?}", self.text());
        };
        let head = String::from_utf8_lossy(&self.arrived[..head_ends]).into_owned();
        self.arrived.drain(..head_ends);
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers: reqwest::header::HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(name, value)| {
                let name: reqwest::header::HeaderName = name.parse().ok()?;
                Some((name, value.parse().ok()?))
            })
            .collect();
        let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
        while self.arrived.len() < length.unwrap_or(0) && self.more().await {}
        let body: Vec<u8> = self.arrived.drain(..length.unwrap_or(0)).collect();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer::new(status.expect("an answer begins with its status"), headers, body)
    }

    /// The next frame; none when the server closed the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.arrived) {
                self.arrived.drain(..length);
                return Some(frame);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads to the close frame and answers its code; none when the connection just ended.
    pub async fn close_code(&mut self) -> Option<u16> {
        while let Some(frame) = self.frame().await {
            if frame.opcode == 8 {
                return Some(u16::from_be_bytes(*frame.payload.first_chunk()?));
            }
        }
        None
    }

    /// Reads to the end of the connection; answers how many text frames came, and the code of a close frame.
    pub async fn reads_to_its_end(&mut self) -> (usize, Option<u16>) {
        let (mut texts, mut code) = (0, None);
        while let Some(frame) = self.frame().await {
            match frame.opcode {
                1 => texts += 1,
                8 => code = frame.payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)),
                _ => {}
            }
        }
        (texts, code)
    }

    /// Reads text frames until one of this type.
    ///
    /// # Panics
    /// When the connection ends first.
    pub async fn next(&mut self, kind: &str) -> serde_json::Value {
        while let Some(frame) = self.frame().await {
            let value: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
            if frame.opcode == 1 && value["type"] == kind {
                return value;
            }
        }
        panic!("the connection ended without {kind}");
    }

    /// Waits until the server ends the connection, whatever it says before.
    pub async fn ended(&mut self) {
        while self.more().await {
            self.arrived.clear();
        }
    }

    /// What arrived and was not taken yet.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.arrived).into_owned()
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        let read = read.unwrap_or_else(|_| panic!("the node was silent for {PATIENCE:?}"));
        let count = read.unwrap_or(0);
        self.arrived.extend_from_slice(&buffer[..count]);
        count > 0
    }
}

/// The request that asks for a WebSocket; `more` is whole header lines.
pub fn upgrade_request(address: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A client's frame, masked with zeros as the standard allows; `first` is the first byte: FIN and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).expect("below 126")),
        medium @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(medium).expect("below 2^16").to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// FIN and text.
pub const TEXT: u8 = 0x81;
/// FIN and binary.
pub const BINARY: u8 = 0x82;

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, from) = match second {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(from..from + length)?.to_vec();
    Some((Frame { opcode: first & 0x0f, payload }, from + length))
}
