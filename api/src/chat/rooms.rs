//! Who is in a room. A change is committed in Postgres, then logged, then answered: once a removal or ban is answered,
//! nothing that it forbids is accepted or delivered anywhere. When it can't be logged the answer is
//! `unavailable`, and asking again completes it.

use shared::Error;
use shared::event::Became;
use shared::id::{AccountId, RoomId};
use shared::store::membership::{self, Committed, Wish};
use shared::store::rooms::{self, Seat};

use super::{TRIES, policy, seats};
use crate::app::App;

/// Joins a public room.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn join(app: &App, person: AccountId, room: RoomId) -> Result<(), Error> {
    change(app, room, person, person, Became::Member, policy::may_join).await
}

/// Brings somebody into a room.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn add(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Member, policy::may_change_members).await
}

/// Takes somebody out of a room.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn remove(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Gone, policy::may_change_members).await
}

/// Leaves a room.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn leave(app: &App, person: AccountId, room: RoomId) -> Result<(), Error> {
    change(app, room, person, person, Became::Gone, policy::may_leave).await
}

/// Takes somebody out of a room for good.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn ban(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Banned, policy::may_change_members).await
}

/// Lets somebody come back who was banned.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn unban(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Unbanned, policy::may_change_members).await
}

/// Makes a member an admin.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn promote(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Admin, policy::may_change_members).await
}

/// Makes an admin a member like the others.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) async fn demote(app: &App, by: AccountId, room: RoomId, person: AccountId) -> Result<(), Error> {
    change(app, room, person, by, Became::Demoted, policy::may_change_members).await
}

/// The direct room of two people, made by whoever asks first.
pub(crate) async fn direct(app: &App, one: AccountId, other: AccountId) -> Result<RoomId, Error> {
    let room = RoomId::of_pair(one, other);
    rooms::insert_direct(&app.pool, room, [one, other]).await?;
    Ok(room)
}

/// Decides, commits and logs; looks again when something was taken away in between.
pub(super) async fn change(
    app: &App,
    room: RoomId,
    person: AccountId,
    by: AccountId,
    became: Became,
    may: fn(&Seat) -> Result<(), shared::Refusal>,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let checked = seats::allowed(app, room, by, may).await?.number;
        let wish = Wish { room, person, by, became, checked };
        match membership::commit(&app.pool, &wish).await? {
            Committed::Stale => app.seats.forget(room, by).await,
            Committed::NoRoom => return Err(policy::no_such_room().into()),
            Committed::Done => {
                app.seats.forget(room, person).await;
                return app.producer.log_changes(room).await;
            }
        }
    }
    Err(Error::unavailable("the room's members change faster than they can be looked up"))
}
