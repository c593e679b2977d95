//! RFC 6455 once more, as plainly as possible: all bytes are here, nothing is kept between calls, and the whole text is
//! looked at again after every frame.

/// What a stream comes to.
#[derive(Default)]
pub(super) struct Plain {
    /// By opcode.
    pub(super) events: Vec<(u8, Vec<u8>)>,
    /// As a close code.
    pub(super) violation: Option<u16>,
}

const PROTOCOL: u16 = 1002;
const INVALID_UTF8: u16 = 1007;
const TOO_LARGE: u16 = 1009;

struct Frame<'a> {
    fin: bool,
    opcode: u8,
    length: usize,
    /// Unmasked, as much of it as is here.
    payload: Vec<u8>,
    rest: &'a [u8],
}

struct Message {
    opcode: u8,
    fragments: usize,
    bytes: Vec<u8>,
}

pub(super) fn read(limits: [usize; 3], stream: &[u8]) -> Plain {
    let mut plain = Plain::default();
    plain.violation = walk(limits, stream, &mut plain.events).err();
    plain
}

fn walk(limits: [usize; 3], mut stream: &[u8], events: &mut Vec<(u8, Vec<u8>)>) -> Result<(), u16> {
    let mut message = None;
    while let Some(frame) = begin(limits[0], stream)? {
        let is_whole = frame.payload.len() == frame.length;
        stream = frame.rest;
        if frame.opcode < 0x8 {
            data(limits, frame, &mut message, events)?;
        } else if is_whole {
            let opcode = frame.opcode;
            events.push((opcode, control(opcode, frame.payload)?));
            if opcode == 0x8 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The frame at the start of `stream`, if its header is whole.
fn begin(frame_bytes: usize, stream: &[u8]) -> Result<Option<Frame<'_>>, u16> {
    let [first, second, more @ ..] = stream else { return Ok(None) };
    let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    let is_known = matches!(opcode, 0x0..=0x2 | 0x8..=0xA);
    let is_good_control = opcode < 0x8 || (fin && short <= 125);
    if first & 0x70 != 0 || second & 0x80 == 0 || !is_known || !is_good_control {
        return Err(PROTOCOL);
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((digits, more)) = more.split_at_checked(extended) else { return Ok(None) };
    let long = digits.iter().fold(0, |length, digit| length * 256 + u128::from(*digit));
    let length = if extended == 0 { u128::from(short) } else { long };
    if length >= 1 << 63 {
        return Err(PROTOCOL);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= frame_bytes).ok_or(TOO_LARGE)?;
    let Some((mask, more)) = more.split_at_checked(4) else { return Ok(None) };
    let (payload, rest) = more.split_at(length.min(more.len()));
    let payload = payload.iter().enumerate().map(|(place, byte)| byte ^ mask[place % 4]).collect();
    Ok(Some(Frame { fin, opcode, length, payload, rest }))
}

fn data(
    [_, message_bytes, fragments]: [usize; 3],
    frame: Frame<'_>,
    message: &mut Option<Message>,
    events: &mut Vec<(u8, Vec<u8>)>,
) -> Result<(), u16> {
    if message.is_some() != (frame.opcode == 0x0) {
        return Err(PROTOCOL);
    }
    let begun = message.get_or_insert(Message { opcode: frame.opcode, fragments: 0, bytes: Vec::new() });
    begun.fragments += 1;
    if begun.fragments > fragments || begun.bytes.len() + frame.length > message_bytes {
        return Err(TOO_LARGE);
    }
    let ends = frame.fin && frame.payload.len() == frame.length;
    begun.bytes.extend(frame.payload);
    if begun.opcode == 0x1 {
        match std::str::from_utf8(&begun.bytes) {
            Err(error) if ends || error.error_len().is_some() => return Err(INVALID_UTF8),
            Ok(_) | Err(_) => {}
        }
    }
    if let Some(whole) = message.take_if(|_| ends) {
        events.push((whole.opcode, whole.bytes));
    }
    Ok(())
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Vec<u8>, u16> {
    match (opcode, payload.as_slice()) {
        (0x9, _) => Ok(payload),
        (0xA, _) | (_, []) => Ok(Vec::new()),
        (_, [_]) => Err(PROTOCOL),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            let may_be_sent = (1000..=1014).contains(&code) && !(1004..=1006).contains(&code);
            if !may_be_sent && !(3000..=4999).contains(&code) {
                return Err(PROTOCOL);
            }
            std::str::from_utf8(reason).map_err(|_| INVALID_UTF8)?;
            Ok(vec![*high, *low])
        }
    }
}
