//! What people are in rooms, remembered so that a send asks no database.
//!
//! What is remembered may be old in one direction only without harm: a right that was given since is found by looking
//! again before anybody is refused; a right that was taken away since is found by the log, which knows the number of the
//! last such change and refuses whatever was decided before it.

use std::time::Duration;

use shared::id::{AccountId, RoomId};
use shared::store::rooms::{self, Seat};
use shared::stream::Head;
use shared::{Error, Refusal};

use super::policy;
use crate::app::App;

/// Seats that a node remembers; some 100 bytes each.
const SEATS_MAX: u64 = 100_000;
/// How long a seat that nobody asks for is remembered.
const IDLE: Duration = Duration::from_secs(600);

/// The seats that a node remembers.
pub(crate) struct Seats(moka::future::Cache<(RoomId, AccountId), Seat>);

impl Seats {
    pub(crate) fn new() -> Self {
        Self(moka::future::Cache::builder().max_capacity(SEATS_MAX).time_to_idle(IDLE).build())
    }

    /// Something was taken away in the room since this was looked up.
    pub(crate) async fn forget(&self, room: RoomId, person: AccountId) {
        self.0.invalidate(&(room, person)).await;
    }
}

/// The seat of `person` in `room`, if `may` allows by it what is wanted. Nobody is refused from memory.
pub(crate) async fn allowed(
    app: &App,
    room: RoomId,
    person: AccountId,
    may: impl Fn(&Seat) -> Result<(), Refusal>,
) -> Result<Seat, Error> {
    if let Some(seat) = app.seats.0.get(&(room, person)).await
        && may(&seat).is_ok()
    {
        return Ok(seat);
    }
    let seat = look_up(app, room, person).await?;
    may(&seat)?;
    Ok(seat)
}

/// The seat as Postgres has it now. A change is committed before it is logged, so a Postgres that knows fewer changes than
/// the log is an older copy, and can't be asked about members.
pub(crate) async fn look_up(app: &App, room: RoomId, person: AccountId) -> Result<Seat, Error> {
    let (_, head) = app.log.head(room).await?;
    let seat = rooms::seat(&app.pool, room, person).await?;
    // Of a room that it does not know, it knows none.
    not_older(head.as_ref(), seat.as_ref().map_or(0, |seat| seat.number))?;
    let seat = seat.ok_or_else(policy::no_such_room)?;
    app.seats.0.insert((room, person), seat.clone()).await;
    Ok(seat)
}

/// Whether Postgres may number the room's next change: not when it is an older copy, whose next number the log has had.
pub(super) async fn is_current(app: &App, room: RoomId) -> Result<(), Error> {
    let (_, head) = app.log.head(room).await?;
    let known = rooms::by_id(&app.pool, room).await?;
    not_older(head.as_ref(), known.map_or(0, |room| room.number))
}

fn not_older(head: Option<&Head>, known: u64) -> Result<(), Error> {
    if head.is_some_and(|head| head.number > known) {
        return Err(Error::unavailable("Postgres knows fewer membership changes than the log"));
    }
    Ok(())
}
