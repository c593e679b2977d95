//! Likes: one per person and target, counted where the order is made.

use shared::event::{Event, LikeChanged, LikeTarget};
use shared::id::{AccountId, Partition, RoomId};
use shared::stream::{Append, Guard, Wanted};
use shared::telemetry::names;
use shared::{Code, Error, Refusal};

use crate::app::App;

/// Gives a like or takes it back; answers the target's new total. A like that is there already (or is not there to be
/// taken back) is refused with the total that stands.
pub(crate) async fn set_like(
    app: &App,
    person: AccountId,
    room: RoomId,
    target: LikeTarget,
    wanted: Wanted,
) -> Result<i64, Error> {
    let _under_way = app.limits.begin_append()?;
    app.limits.let_message_pass(person, room)?;
    let event = Event::LikeChanged(LikeChanged { target, person, liked: wanted == Wanted::Liked });
    let append = Append {
        partition: Partition::of(room, app.partitions()),
        room: Some(room),
        to: &[],
        checked: None,
        change: None,
        send: None,
        guard: Some(Guard { target: target.id(room), person, wanted }),
        rate: None,
        cap_share: 1.0,
        body: &event.to_body(),
    };
    let placed = app.producer.append(&append).await.map_err(|error| reword(error, target))?;
    let kind = match target {
        LikeTarget::Session => "session",
        LikeTarget::Message { .. } => "message",
    };
    metrics::counter!(names::LIKES, "target" => kind).increment(1);
    placed.total.ok_or_else(|| Error::bug("a like was appended without its total"))
}

/// Says what was liked already.
fn reword(error: Error, target: LikeTarget) -> Error {
    let Error::Refused(refusal) = error else { return error };
    let message = match (refusal.code, target) {
        (Code::AlreadyLiked, LikeTarget::Session) => "Already liked this session",
        (Code::AlreadyLiked, LikeTarget::Message { .. }) => "Already liked this message",
        (Code::NotLiked, LikeTarget::Session) => "Session is not liked",
        (Code::NotLiked, LikeTarget::Message { .. }) => "Message is not liked",
        _ => return Error::Refused(refusal),
    };
    Error::Refused(Refusal { message: message.into(), ..refusal })
}
