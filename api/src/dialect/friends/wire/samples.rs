//! One of everything that a socket can be told, for tests of the wire and of its documents.

use shared::bus::Word;
use shared::error::{Code, Error};
use shared::event::Origin;
use shared::id::{AccountId, BootId};
use shared::message::Message;
use uuid::Uuid;

use super::FrameOut;
use crate::chat::{Happened, Happening};
use crate::dialect::live_chat::samples::{happened, message, time};
use crate::dialect::wire::ErrorFrame;
use crate::dialect::{Caps, Ear, Encoding};

pub(crate) const ALL_CAPS: Caps = Caps { presence: true, delivered: true, deleted: true };

pub(crate) fn origin() -> Origin {
    Origin { node: BootId(Uuid::from_u128(4)), connection: 7, send: 0 }
}

/// To whom [`letter`] was sent.
pub(crate) fn receiver() -> AccountId {
    AccountId(Uuid::from_u128(3))
}

pub(crate) fn letter() -> Message {
    Message { receiver: Some(receiver()), ..message() }
}

/// The ear of a person's socket; of the sending one, if it is to be.
pub(crate) fn ear(person: AccountId, socket: Option<Origin>) -> Ear {
    Ear { encoding: Encoding::Friends(ALL_CAPS), person: Some(person), socket }
}

pub(crate) fn happenings() -> Vec<Happened> {
    let message = letter();
    let sent = Happened {
        origin: Some(Origin { send: 2, ..origin() }),
        ..happened(Happening::MessagePosted(message.clone()))
    };
    let (id, by) = (message.id, message.author.id);
    vec![
        sent,
        happened(Happening::MessageRead { id, by: receiver(), at: time() }),
        happened(Happening::MessageDeleted { id, by, at: time() }),
        happened(Happening::Resync),
    ]
}

pub(crate) fn words() -> Vec<Word> {
    let (message, person) = (letter(), receiver());
    vec![
        Word::Typing { person, is_typing: true },
        Word::Delivered { room: message.room, position: message.position, message: message.id, by: person },
        Word::Presence { person, online: true },
        Word::Presence { person, online: false },
    ]
}

/// The JSON of one frame of each sort that clients are told.
pub(crate) fn frames_told() -> Vec<Vec<u8>> {
    let author = letter().author.id;
    let refused = Error::refused(Code::NotFriends, "You can only message your friends");
    let happenings = happenings();
    let heard = happenings.iter().flat_map(|happened| {
        let ears = [ear(receiver(), None), ear(author, None), ear(author, Some(origin()))];
        ears.map(|ear| FrameOut::of(&ear, ALL_CAPS, happened)).into_iter().flatten()
    });
    let words = words();
    let told = words.iter().filter_map(|word| FrameOut::of_word(ALL_CAPS, word));
    let opening = [FrameOut::established(author), FrameOut::OnlineFriends { friends: vec![receiver().0] }];
    let error = [FrameOut::Error(ErrorFrame::of(&refused, Some("n-1")))];
    opening.into_iter().chain(heard).chain(told).chain(error).map(|frame| frame.to_json()).collect()
}
