//! One of everything that can be told, for tests of the wire and of its documents.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::error::{Code, Error, Refusal};
use shared::event::LikeTarget;
use shared::id::{AccountId, MessageId, MessageNo, Position, RoomId};
use shared::message::Message;
use shared::store::live::LiveSession;
use shared::user::{Author, Role};
use uuid::Uuid;

use super::FrameOut;
use crate::chat::{Happened, Happening};
use crate::dialect::wire::ErrorFrame;

/// 2024-01-01, 20:30:00.042 UTC.
pub(crate) fn time() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_704_141_000_042).expect("in range")
}

pub(crate) fn room() -> RoomId {
    RoomId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001))
}

pub(crate) fn message() -> Message {
    Message {
        id: MessageId(Uuid::from_u128(9)),
        no: MessageNo(68_719_476_739),
        room: room(),
        position: Position { epoch: 1, seq: 7 },
        author: Author {
            id: AccountId(Uuid::from_u128(2)),
            no: 12,
            username: "ana".to_owned(),
            full_name: Some("Ana Silva".to_owned()),
            avatar: None,
            roles: [Role::Winner].into_iter().collect(),
        },
        text: Some("<b>\"hé\u{1f600}\"</b>\n".to_owned()),
        nonce: "n-1".to_owned(),
        likes: 3,
        created_at: time(),
        edited_at: None,
        deleted_at: None,
        receiver: None,
        read_at: None,
    }
}

pub(crate) fn session() -> LiveSession {
    LiveSession {
        id: 1,
        room: room(),
        name: "Draw Chat - January 01, 2024".to_owned(),
        starts_at: time() - TimeDelta::milliseconds(5_400_042),
        ends_at: time() + TimeDelta::milliseconds(1_799_958),
        total_likes: 12,
        total_messages: 45,
    }
}

pub(crate) fn happened(what: Happening) -> Happened {
    Happened { room: room(), position: Position { epoch: 1, seq: 7 }, at: time(), origin: None, what }
}

/// The JSON of one frame of each sort that clients are told, some with and without what is optional.
pub(crate) fn frames_told() -> Vec<Vec<u8>> {
    let slow = Refusal::new(Code::RateLimited, "Slow down").retry_after(Duration::from_secs(1)).into();
    let bad = Error::refused(Code::Invalid, "Unknown type of frame");
    let errors = [ErrorFrame::of(&slow, Some("n-1")), ErrorFrame::of(&bad, None)];
    let happened: Vec<Happened> = happenings().into_iter().map(happened).collect();
    let frames = happened.iter().filter_map(FrameOut::of);
    let frames = frames.chain([FrameOut::Pong]).chain(errors.map(FrameOut::Error));
    frames.map(|frame| frame.to_json()).collect()
}

/// One of each thing that can happen.
pub(crate) fn happenings() -> Vec<Happening> {
    let message_target = LikeTarget::Message { id: message().id, no: message().no };
    vec![
        Happening::MessagePosted(message()),
        Happening::LikesChanged { target: LikeTarget::Session, total: 12 },
        Happening::LikesChanged { target: message_target, total: 4 },
        Happening::ViewerCount(5),
        Happening::Resync,
    ]
}
