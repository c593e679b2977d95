//! How much of anything one may have: every figure has a name, a unit and a reason, and is a setting `LIMIT_<NAME>`
//! with the figure as default, so that a load test from one address can raise it.

pub(crate) mod bucket;
mod counts;
mod node;

use std::time::Duration;

use shared::config::{Reader, Vars};

pub(crate) use bucket::{Bucket, Buckets, Rate, network_of};
pub(crate) use counts::{Counts, Place};
pub(crate) use node::{NodeLimits, SocketPlace};

/// The figures in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one WebSocket message: 4,000 characters of four bytes, escaped, fit four times over.
    pub ws_message_bytes: usize,
    /// Bytes of one WebSocket frame. A larger one than a message has no use.
    pub ws_frame_bytes: usize,
    /// Frames of one message. One-byte fragments cost us a hundred times what they cost the sender.
    pub ws_fragments: usize,
    /// From the first to the last fragment of a message, so that half a message holds no memory.
    pub ws_fragment_time: Duration,
    /// Silence after which a socket is pinged: shorter than the idle time-outs of usual balancers.
    pub ping_after: Duration,
    /// How long the answer to that ping may take before the socket counts as dead.
    pub pong_within: Duration,
    /// How long a write to a socket may make no progress.
    pub write_time: Duration,
    /// Bytes of a request's headers, the handshake's too.
    pub header_bytes: usize,
    /// How long the headers may take to arrive: a slow sender holds a descriptor.
    pub header_time: Duration,
    /// Bytes of a request's body: as much as a WebSocket message.
    pub body_bytes: usize,
    /// How long the body may take to arrive.
    pub body_time: Duration,
    /// How long any request may take, waiting for stores included; more than their own deadlines together.
    pub request_time: Duration,
    /// How long a socket may stay open without saying who it is.
    pub unauthenticated_time: Duration,
    /// Bytes it may send until then.
    pub unauthenticated_bytes: usize,
    /// Connections of one address that have not said who they are.
    pub unauthenticated_per_ip: usize,
    /// Nesting of a JSON value. Ours need 3; deep ones cost stack here and are refused by Postgres.
    pub json_depth: usize,
    /// Keys of one JSON object.
    pub json_keys: usize,
    /// Characters of a message.
    pub text_chars: usize,
    /// Characters of a message in the live chat.
    pub live_text_chars: usize,
    /// Items of one list answer; longer ones are paged.
    pub list_items: u32,
    /// Messages a second of one person on this node: faster than anybody types.
    pub messages_per_second: u32,
    /// Messages of one person at once, as after a reconnect.
    pub messages_burst: u32,
    /// Messages a second in one room on this node: past that nobody reads.
    pub room_messages_per_second: u32,
    /// Messages and likes that this node may have on their way into the log at once. The log takes all that wait for it
    /// in one sync, so more would not make it faster: they would wait past the deadline, be done and answered
    /// `unavailable`, and be sent again.
    pub appends_in_flight: usize,
    /// Frames a second on one socket, of any kind.
    pub frames_per_second: u32,
    /// Friend requests of one person that nobody has answered: who has so many strangers to ask is no person.
    pub friend_requests_open: u32,
    /// Requests, answers, ends of friendship and blocks of one person in a minute: each that counts is an entry in the log,
    /// which is never refused for load.
    pub friend_changes_per_minute: u32,
    /// Look-ups of people by one person in a minute: a letter a second of somebody who types a name.
    pub lookups_per_minute: u32,
    /// People of one such answer: enough to pick somebody, too few to copy the register from.
    pub lookup_people: u32,
    /// New sockets a second of one address: a household behind one, or one client gone wild.
    pub handshakes_per_second: u32,
    /// Sockets of one person: tabs and devices.
    pub sockets_per_user: usize,
    /// Sockets of one address: an office behind one.
    pub sockets_per_ip: usize,
    /// Clock difference that a token's times are forgiven.
    pub token_leeway: Duration,
    /// At most so long after a revocation a socket lives on when the bus did not tell.
    pub revocation_check: Duration,
    /// People, addresses or rooms whose rates one node remembers at once; some 100 bytes each.
    pub rate_keys: usize,
}

impl Limits {
    /// Reads all of them.
    pub(crate) fn read(read: &mut Reader<'_>) -> Limits {
        const DAY: u64 = 86_400;
        Limits {
            ws_message_bytes: read.number("LIMIT_WS_MESSAGE_BYTES", 65_536, 128..=1 << 24),
            ws_frame_bytes: read.number("LIMIT_WS_FRAME_BYTES", 65_536, 128..=1 << 24),
            ws_fragments: read.number("LIMIT_WS_FRAGMENTS", 64, 1..=1 << 16),
            ws_fragment_time: read.seconds("LIMIT_WS_FRAGMENT_SECS", 10, 1..=600),
            ping_after: read.seconds("LIMIT_PING_SECS", 25, 1..=3_600),
            pong_within: read.seconds("LIMIT_PONG_SECS", 20, 1..=3_600),
            write_time: read.seconds("LIMIT_WRITE_SECS", 10, 1..=600),
            header_bytes: read.number("LIMIT_HEADER_BYTES", 16_384, 8_192..=1 << 20),
            header_time: read.seconds("LIMIT_HEADER_SECS", 10, 1..=600),
            body_bytes: read.number("LIMIT_BODY_BYTES", 65_536, 1..=1 << 24),
            body_time: read.seconds("LIMIT_BODY_SECS", 10, 1..=600),
            request_time: read.seconds("LIMIT_REQUEST_SECS", 30, 1..=600),
            unauthenticated_time: read.seconds("LIMIT_UNAUTHENTICATED_SECS", 5, 1..=600),
            unauthenticated_bytes: read.number("LIMIT_UNAUTHENTICATED_BYTES", 4_096, 128..=1 << 20),
            unauthenticated_per_ip: read.number("LIMIT_UNAUTHENTICATED_PER_IP", 50, 1..=1 << 24),
            json_depth: read.number("LIMIT_JSON_DEPTH", 16, 2..=54),
            json_keys: read.number("LIMIT_JSON_KEYS", 64, 8..=1 << 16),
            text_chars: read.number("LIMIT_TEXT_CHARS", 4_000, 1..=100_000),
            live_text_chars: read.number("LIMIT_LIVE_TEXT_CHARS", 1_000, 1..=100_000),
            list_items: read.number("LIMIT_LIST_ITEMS", 100, 1..=1_000),
            messages_per_second: read.number("LIMIT_MESSAGES_PER_SECOND", 10, 1..=1_000_000),
            messages_burst: read.number("LIMIT_MESSAGES_BURST", 20, 1..=1_000_000),
            room_messages_per_second: read.number("LIMIT_ROOM_MESSAGES_PER_SECOND", 500, 1..=1_000_000),
            appends_in_flight: read.number("LIMIT_APPENDS_IN_FLIGHT", 256, 1..=1 << 20),
            frames_per_second: read.number("LIMIT_FRAMES_PER_SECOND", 50, 1..=1_000_000),
            friend_requests_open: read.number("LIMIT_FRIEND_REQUESTS_OPEN", 100, 1..=1_000_000),
            friend_changes_per_minute: read.number("LIMIT_FRIEND_CHANGES_PER_MINUTE", 60, 1..=1_000_000),
            lookups_per_minute: read.number("LIMIT_LOOKUPS_PER_MINUTE", 60, 1..=1_000_000),
            lookup_people: read.number("LIMIT_LOOKUP_PEOPLE", 20, 1..=1_000),
            handshakes_per_second: read.number("LIMIT_HANDSHAKES_PER_SECOND", 20, 1..=1_000_000),
            sockets_per_user: read.number("LIMIT_SOCKETS_PER_USER", 10, 1..=1 << 24),
            sockets_per_ip: read.number("LIMIT_SOCKETS_PER_IP", 200, 1..=1 << 24),
            token_leeway: read.seconds("LIMIT_TOKEN_LEEWAY_SECS", 30, 0..=30),
            revocation_check: read.seconds("LIMIT_REVOCATION_CHECK_SECS", 30, 1..=DAY),
            rate_keys: read.number("LIMIT_RATE_KEYS", 100_000, 16..=1 << 26),
        }
    }

    /// Messages of one person.
    pub(crate) fn message_rate(&self) -> Rate {
        Rate::new(self.messages_per_second, self.messages_burst)
    }

    /// Messages in one room.
    pub(crate) fn room_message_rate(&self) -> Rate {
        Rate::new(self.room_messages_per_second, self.room_messages_per_second)
    }

    /// Frames on one socket.
    pub(crate) fn frame_rate(&self) -> Rate {
        Rate::new(self.frames_per_second, self.frames_per_second)
    }

    /// What one person does about friends.
    pub(crate) fn friend_change_rate(&self) -> Rate {
        Rate::per_minute(self.friend_changes_per_minute)
    }

    /// Look-ups of people by one person.
    pub(crate) fn lookup_rate(&self) -> Rate {
        Rate::per_minute(self.lookups_per_minute)
    }

    /// New sockets of one address.
    pub(crate) fn handshake_rate(&self) -> Rate {
        Rate::new(self.handshakes_per_second, self.handshakes_per_second)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::read(&mut Reader::new(&Vars::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_promised() {
        let limits = Limits::default();
        assert_eq!((limits.ws_message_bytes, limits.ws_frame_bytes), (65_536, 65_536));
        assert_eq!((limits.ws_fragments, limits.ws_fragment_time), (64, Duration::from_secs(10)));
        assert_eq!((limits.header_bytes, limits.header_time), (16_384, Duration::from_secs(10)));
        assert_eq!((limits.sockets_per_user, limits.sockets_per_ip), (10, 200));
        assert_eq!((limits.json_depth, limits.json_keys), (16, 64));
    }

    #[test]
    fn a_limit_can_be_raised_but_not_taken_away() {
        let raised = Vars::default().with("LIMIT_SOCKETS_PER_IP", "5000");
        assert_eq!(Limits::read(&mut Reader::new(&raised)).sockets_per_ip, 5_000);
        for nothing in ["0", "-1", "unlimited"] {
            let vars = Vars::default().with("LIMIT_SOCKETS_PER_IP", nothing);
            let mut read = Reader::new(&vars);
            Limits::read(&mut read);
            assert!(
                read.finish()
                    .unwrap_err()
                    .to_string()
                    .contains("LIMIT_SOCKETS_PER_IP must be a whole number")
            );
        }
    }
}
