//! Changing what was said. Whether the author may is decided on a seat, and whether the message is still there where the
//! order is made; doing it twice is doing it once.

use shared::event::{Event, MessageDeleted, MessageEdited};
use shared::id::{AccountId, MessageId, RoomId};
use shared::message::{Message, MessageText};
use shared::store::rooms::Seat;
use shared::stream::{Append, Appended, Guard, Wanted};
use shared::{Code, Error};

use super::{TRIES, history, policy, seats};
use crate::app::App;

/// Gives a message another text. The text that it has already is no change.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet edits"))]
pub(crate) async fn edit_message(
    app: &App,
    by: AccountId,
    room: RoomId,
    id: MessageId,
    text: &MessageText,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let seat = seats::allowed(app, room, by, policy::may_read).await?;
        let message = standing(app, room, id).await?;
        policy::may_edit(&seat, &message, by)?;
        if message.text.as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        let edit = MessageEdited { id, no: message.no, by, text: text.as_str().to_owned() };
        let guard = Guard { target: id.0, person: by, wanted: Wanted::Edited };
        match append(app, room, by, &seat, guard, &Event::MessageEdited(edit)).await? {
            Appended::Placed(_) => return Ok(()),
            Appended::Stale => app.seats.forget(room, by).await,
        }
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
}

/// Takes a message back. One that is deleted already is no change.
pub(crate) async fn delete_message(
    app: &App,
    by: AccountId,
    room: RoomId,
    id: MessageId,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let seat = seats::allowed(app, room, by, policy::may_read).await?;
        let message = history::message(app, room, id).await?.ok_or_else(no_such_message)?;
        policy::may_delete(&seat, &message, by)?;
        if message.deleted_at.is_some() {
            return Ok(());
        }
        let deletion = MessageDeleted { id, no: message.no, by };
        let guard = Guard { target: id.0, person: by, wanted: Wanted::Deleted };
        match append(app, room, by, &seat, guard, &Event::MessageDeleted(deletion)).await {
            Ok(Appended::Placed(_)) => return Ok(()),
            Ok(Appended::Stale) => app.seats.forget(room, by).await,
            // Somebody was faster.
            Err(error) if error.code() == Code::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
}

/// The message, unless it was taken back.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet edits"))]
async fn standing(app: &App, room: RoomId, id: MessageId) -> Result<Message, Error> {
    let message = history::message(app, room, id).await?;
    message.filter(|message| message.deleted_at.is_none()).ok_or_else(no_such_message)
}

fn no_such_message() -> Error {
    Error::refused(Code::NotFound, "No such message")
}

async fn append(
    app: &App,
    room: RoomId,
    by: AccountId,
    seat: &Seat,
    guard: Guard,
    event: &Event,
) -> Result<Appended, Error> {
    let append = Append {
        partition: app.partition(room),
        room: Some(room),
        to: &seat.people(by),
        checked: Some(seat.number),
        change: None,
        send: None,
        guard: Some(guard),
        rate: None,
        cap_share: 1.0,
        body: &event.to_body(),
    };
    app.producer.append_if_current(&append).await
}
