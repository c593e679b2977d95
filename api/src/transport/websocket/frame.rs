//! RFC 6455 framing for the server's side: bytes in, events out.
//!
//! Promise: whatever bytes arrive, in whatever pieces, the events are the same, nothing panics, and memory is bounded by the
//! bytes that really came, never by a length somebody declared. There is no clock and no I/O here: the caller passes the time.
//!
//! Every frame a client sends is masked; none that we send is. No extension is ever negotiated, so the reserved bits are
//! always an error. Text is checked while it streams in: a message that can no longer become valid UTF-8 is refused at the
//! byte that spoils it, also when its last fragment never comes.

mod build;
mod limits;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub(crate) use build::{binary_frame, close_frame, ping_frame, pong_frame, text_frame};
pub(crate) use limits::FrameLimits;

/// Largest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Two bytes, an extended length of eight, a mask of four.
const HEADER_BYTES_MAX: usize = 14;

/// What one or more frames of a client amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole text message.
    Text(String),
    /// A whole binary message; whether such are welcome is the dialect's choice.
    Binary(Vec<u8>),
    /// A ping, to be answered by a pong with the same payload.
    Ping(Vec<u8>),
    /// A pong; its payload says nothing that we need.
    Pong,
    /// The peer wants to close, or answers our close. Nothing after it is looked at.
    Close(Option<u16>),
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The bytes break RFC 6455 (close code 1002); the text is for the close frame.
    Protocol(&'static str),
    /// A frame or message is over its [`FrameLimits`] (1009).
    TooLarge,
    /// A text message, or the reason of a close, is not UTF-8 (1007).
    InvalidUtf8,
}

/// The incremental parser of one connection. At rest (between messages) it holds no buffer.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    limits: FrameLimits,
    stage: Stage,
    /// The data message whose final fragment has not come yet.
    message: Option<Message>,
    /// When the oldest unfinished frame or message began.
    unfinished_since: Option<Instant>,
}

/// Where in the stream the next byte stands.
#[derive(Debug)]
enum Stage {
    /// Within a frame's header, of which `len` bytes are here.
    Header { bytes: [u8; HEADER_BYTES_MAX], len: u8 },
    /// Within a data frame's payload, which goes to `Parser::message`.
    Data { fin: bool, rest: Masked },
    /// Within a control frame's payload.
    Control { opcode: Opcode, rest: Masked, payload: Vec<u8> },
    /// After a close frame or a violation: deaf.
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Stage::Header { bytes: [0; HEADER_BYTES_MAX], len: 0 }
    }
}

/// A data message in the making.
#[derive(Debug)]
struct Message {
    text: bool,
    fragments: usize,
    bytes: Vec<u8>,
    /// How much of a text is known to be whole, valid characters.
    valid: usize,
}

/// The payload bytes of a frame that are still to come, and the mask they are under, turned so that its first byte applies
/// to the next payload byte.
#[derive(Debug, Clone, Copy)]
struct Masked {
    left: usize,
    mask: [u8; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// A frame's header, once enough of it is here.
struct Header {
    fin: bool,
    opcode: Opcode,
    payload: Masked,
}

impl Parser {
    /// At the start of a stream.
    pub(crate) fn new(limits: FrameLimits) -> Parser {
        Parser { limits, ..Parser::default() }
    }

    /// Takes the bytes that one read gave (they are unmasked in place) and appends what they complete to `events`.
    ///
    /// # Errors
    /// The first violation; events before it are in `events`. From then on everything is ignored.
    pub(crate) fn feed(
        &mut self,
        mut chunk: &mut [u8],
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), Violation> {
        while !chunk.is_empty() {
            let taken = match self.step(chunk, events) {
                Ok(taken) => taken,
                Err(violation) => {
                    *self = Parser { stage: Stage::Over, ..Parser::new(self.limits) };
                    return Err(violation);
                }
            };
            chunk = &mut chunk[taken..];
            if self.at_rest() {
                self.unfinished_since = None;
            }
        }
        if !self.at_rest() {
            self.unfinished_since.get_or_insert(now);
        }
        Ok(())
    }

    /// Since when a frame or message has been waiting for its rest; the caller decides how long is too long.
    pub(crate) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// How many bytes of payload there is room for.
    pub(crate) fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.capacity());
        let control = if let Stage::Control { payload, .. } = &self.stage { payload.capacity() } else { 0 };
        message + control
    }

    fn at_rest(&self) -> bool {
        match self.stage {
            Stage::Header { len: 0, .. } => self.message.is_none(),
            Stage::Over => true,
            Stage::Header { .. } | Stage::Data { .. } | Stage::Control { .. } => false,
        }
    }

    /// Consumes at least one byte of a chunk that has one, up to the end of a header or payload. Returns how many.
    fn step(&mut self, chunk: &mut [u8], events: &mut Vec<Event>) -> Result<usize, Violation> {
        match &mut self.stage {
            Stage::Header { bytes, len } => {
                bytes[usize::from(*len)] = chunk[0];
                *len += 1;
                if let Some(header) = parse_header(&bytes[..usize::from(*len)], self.limits.frame_bytes)? {
                    self.begin(&header)?;
                    self.finish_if_complete(events)?;
                }
                Ok(1)
            }
            Stage::Data { rest, .. } => {
                let piece = rest.take(chunk);
                let message =
                    self.message.as_mut().expect("a data frame is only begun together with its message");
                message.bytes.extend_from_slice(piece);
                let taken = piece.len();
                self.finish_if_complete(events)?;
                Ok(taken)
            }
            Stage::Control { rest, payload, .. } => {
                let piece = rest.take(chunk);
                payload.extend_from_slice(piece);
                let taken = piece.len();
                self.finish_if_complete(events)?;
                Ok(taken)
            }
            Stage::Over => Ok(chunk.len()),
        }
    }

    /// Checks a frame against what came before it and gets ready for its payload.
    fn begin(&mut self, header: &Header) -> Result<(), Violation> {
        let Header { fin, opcode, payload } = *header;
        match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                self.stage = Stage::Control { opcode, rest: payload, payload: Vec::new() };
                return Ok(());
            }
            Opcode::Text | Opcode::Binary if self.message.is_some() => {
                return Err(Violation::Protocol("a message began inside another"));
            }
            Opcode::Text | Opcode::Binary => {
                let text = opcode == Opcode::Text;
                self.message = Some(Message { text, fragments: 0, bytes: Vec::new(), valid: 0 });
            }
            Opcode::Continuation => {}
        }
        let Some(message) = self.message.as_mut() else {
            return Err(Violation::Protocol("a continuation of nothing"));
        };
        message.fragments += 1;
        let bytes = message.bytes.len() + payload.left;
        if message.fragments > self.limits.fragments || bytes > self.limits.message_bytes {
            return Err(Violation::TooLarge);
        }
        self.stage = Stage::Data { fin, rest: payload };
        Ok(())
    }

    /// After every piece: either the frame is complete and takes effect, or what is here of a text is checked.
    fn finish_if_complete(&mut self, events: &mut Vec<Event>) -> Result<(), Violation> {
        match &mut self.stage {
            Stage::Data { fin, rest } => {
                let (fin, complete) = (*fin, rest.left == 0);
                if complete {
                    self.stage = Stage::default();
                }
                if fin && complete {
                    let message = self.message.take().expect("a data frame belongs to a message");
                    events.push(message.finish()?);
                } else if let Some(message) = self.message.as_mut() {
                    message.check_so_far()?;
                }
            }
            Stage::Control { opcode, rest, payload } if rest.left == 0 => {
                let event = control_event(*opcode, std::mem::take(payload))?;
                let last = matches!(event, Event::Close(_));
                events.push(event);
                self.stage = if last { Stage::Over } else { Stage::default() };
                if last {
                    self.message = None;
                }
            }
            Stage::Control { .. } | Stage::Header { .. } | Stage::Over => {}
        }
        Ok(())
    }
}

impl Message {
    fn check_so_far(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(rest) => self.valid += rest.len(),
            // No length means that the text merely stops inside a character that may still become valid.
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidUtf8),
        }
        Ok(())
    }

    fn finish(self) -> Result<Event, Violation> {
        if self.text {
            String::from_utf8(self.bytes).map(Event::Text).map_err(|_| Violation::InvalidUtf8)
        } else {
            Ok(Event::Binary(self.bytes))
        }
    }
}

impl Masked {
    /// Unmasks, in place, what of `chunk` belongs to this payload, and returns it.
    fn take<'a>(&mut self, chunk: &'a mut [u8]) -> &'a [u8] {
        let taken = self.left.min(chunk.len());
        let piece = &mut chunk[..taken];
        unmask(piece, self.mask);
        self.mask.rotate_left(taken % 4);
        self.left -= taken;
        piece
    }
}

/// Eight bytes at a time: this loop is compiled to vector instructions.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let bytes: [u8; 8] = (&*word).try_into().expect("chunks_exact_mut(8) gives eight bytes");
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The header, if `bytes` hold all of it. Called after every byte of one, so each rule bites as early as it can.
fn parse_header(bytes: &[u8], bytes_max: usize) -> Result<Option<Header>, Violation> {
    let &[first, second, ref more @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Violation::Protocol("reserved bits without an extension"));
    }
    let opcode = Opcode::parse(first & 0x0f)?;
    let fin = first & 0x80 != 0;
    let short = usize::from(second & 0x7f);
    if second & 0x80 == 0 {
        return Err(Violation::Protocol("a frame without a mask"));
    }
    if opcode.is_control() && (!fin || short > CONTROL_BYTES_MAX) {
        return Err(Violation::Protocol("a control frame that is fragmented or too long"));
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if more.len() < extended {
        return Ok(None);
    }
    let (length, mask) = more.split_at(extended);
    let left = payload_length(short, length, bytes_max)?;
    Ok(mask.try_into().ok().map(|mask| Header { fin, opcode, payload: Masked { left, mask } }))
}

/// RFC 6455 asks senders for the shortest form of a length and does not ask receivers to insist; neither do we.
fn payload_length(short: usize, extended: &[u8], bytes_max: usize) -> Result<usize, Violation> {
    let length = extended.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    let length = if extended.is_empty() { short as u64 } else { length };
    if length >> 63 != 0 {
        return Err(Violation::Protocol("a length with the top bit set"));
    }
    usize::try_from(length).ok().filter(|length| *length <= bytes_max).ok_or(Violation::TooLarge)
}

impl Opcode {
    fn parse(nibble: u8) -> Result<Opcode, Violation> {
        match nibble {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            _ => Err(Violation::Protocol("a reserved opcode")),
        }
    }

    fn is_control(self) -> bool {
        match self {
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
        }
    }
}

fn control_event(opcode: Opcode, payload: Vec<u8>) -> Result<Event, Violation> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong),
        Opcode::Close => Ok(Event::Close(close_code(&payload)?)),
        Opcode::Continuation | Opcode::Text | Opcode::Binary => {
            unreachable!("data frames have a stage of their own")
        }
    }
}

/// The code in a close frame's payload, checked as RFC 6455 7.4 and the registry of codes say.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let &[high, low, ref reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::Protocol("half a close code")) };
    };
    let code = u16::from_be_bytes([high, low]);
    // 1004 is unassigned; 1005, 1006 and 1015 stand for closes without a frame and never travel in one.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close code that may not be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}
