//! Friends: who may write to whom where only friends do.
//!
//! That two people are friends, or no more, or that one blocks the other, is a membership change of their direct room:
//! committed, logged, then answered. So a send that begins after the answer is refused on every node, whatever any of them
//! remembers. A request is no such thing; nothing hangs on it.

use std::collections::HashSet;

use shared::event::Became;
use shared::id::{AccountId, RoomId};
use shared::store::accounts::{self, Summary};
use shared::store::admin::{self, Admin};
use shared::store::friendships::{self, Answered, Ask, Asked, Listed};
use shared::store::people;
use shared::store::rooms::Seat;
use shared::{Code, Error, Refusal};
use uuid::Uuid;

use super::{TRIES, policy, rooms, seats};
use crate::app::App;

/// Whom somebody wants for a friend.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    /// The one with this id.
    Id(AccountId),
    /// The only one with this name.
    Name(String),
}

/// A request, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    /// The other one.
    pub(crate) account: Summary,
    pub(crate) created_at: chrono::DateTime<chrono::Utc>,
}

/// What came of asking for a friendship.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The other has it before them.
    Pending(Request),
    /// The other had asked already: they are friends.
    Accepted(Request),
}

/// Asks somebody to be a friend. Who asks a person that has asked them accepts by it.
///
/// Unknown, closed and blocked people get one answer: whoever is blocked does not learn it here.
pub(crate) async fn request(app: &App, me: AccountId, whom: Whom) -> Result<Outcome, Error> {
    app.limits.let_friend_change_pass(me)?;
    let other = match whom {
        Whom::Id(id) => id,
        Whom::Name(name) => only_one(&people::named(&app.pool, me, &name).await?)?,
    };
    if other == me {
        return Err(oneself().into());
    }
    let most_open = i64::from(app.config.limits.friend_requests_open);
    for _ in 0..TRIES {
        // Names of requests grow with time, so that the newest stand first without another column.
        let ask = Ask { me, other, id: Uuid::now_v7(), most_open };
        match friendships::request(&app.pool, &ask).await? {
            Asked::Pending(request) => return Ok(Outcome::Pending(with_account(app, request).await?)),
            Asked::Crossing(id) => {
                if let Answered::Done(request) = accepted(app, me, id).await? {
                    return Ok(Outcome::Accepted(with_account(app, request).await?));
                }
                // It was taken back, or answered, in between.
            }
            Asked::Already => {
                return Err(Error::refused(Code::Conflict, "You are friends, or you have asked already"));
            }
            Asked::NoSuchPerson => return Err(no_such_person().into()),
            Asked::TooMany => {
                return Err(Error::refused(
                    Code::RateLimited,
                    "Too many of your requests are unanswered; take some back first",
                ));
            }
        }
    }
    Err(Error::unavailable("a friendship changes faster than it can be read"))
}

/// Accepts a request that was made to `me`.
pub(crate) async fn accept(app: &App, me: AccountId, id: Uuid) -> Result<Request, Error> {
    app.limits.let_friend_change_pass(me)?;
    let answered = accepted(app, me, id).await?;
    answer(app, answered).await
}

/// Declines a request that was made to `me`. The other may ask again, unless blocked.
pub(crate) async fn decline(app: &App, me: AccountId, id: Uuid) -> Result<Request, Error> {
    app.limits.let_friend_change_pass(me)?;
    let answered = friendships::decline(&app.pool, id, me).await?;
    answer(app, answered).await
}

/// Ends a friendship, and takes back what one asked. Nothing to end is no error, whoever the other is.
pub(crate) async fn unfriend(app: &App, me: AccountId, other: AccountId) -> Result<(), Error> {
    app.limits.let_friend_change_pass(me)?;
    seats::is_current(app, RoomId::of_pair(me, other)).await?;
    friendships::end(&app.pool, me, other).await?;
    changed(app, me, other).await
}

/// Ends what two people may send each other, their friendship and their requests. Strangers get a direct room by it, so
/// that there is something whose changes are numbered.
pub(crate) async fn block(app: &App, me: AccountId, other: AccountId) -> Result<(), Error> {
    app.limits.let_friend_change_pass(me)?;
    if other == me {
        return Err(oneself().into());
    }
    if !accounts::exists(&app.pool, other).await? {
        return Err(no_such_person().into());
    }
    let room = rooms::direct(app, me, other).await?;
    rooms::change(app, room, me, me, Became::Blocking, policy::may_read).await
}

/// Takes one's own block back; the other's stays, and the friendship that it ended stays ended.
pub(crate) async fn unblock(app: &App, me: AccountId, other: AccountId) -> Result<(), Error> {
    app.limits.let_friend_change_pass(me)?;
    let room = RoomId::of_pair(me, other);
    match rooms::change(app, room, me, me, Became::Unblocking, policy::may_read).await {
        // Without a room there is no block.
        Err(Error::Refused(refusal)) if refusal.code == Code::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The seat by which `me` writes to `other` where only friends do. Remembered as every seat is: what was taken away since
/// is found by the log. A stranger, a block, oneself and nobody at all cost the same and get the same answer.
pub(crate) async fn seat_of_pair(
    app: &App,
    me: AccountId,
    other: AccountId,
) -> Result<(RoomId, Seat), Error> {
    let room = RoomId::of_pair(me, other);
    match seats::allowed(app, room, me, policy::may_send_to_friend).await {
        Ok(seat) => Ok((room, seat)),
        Err(Error::Refused(_)) => Err(policy::not_friends().into()),
        Err(error) => Err(error),
    }
}

/// Whether `me` may write to `other` at this moment. For what appends nothing and so is not checked by the log: a seat that is
/// remembered may be older than the end of a friendship.
pub(crate) async fn may_write_now(app: &App, me: AccountId, other: AccountId) -> Result<bool, Error> {
    for _ in 0..TRIES {
        let Ok((room, seat)) = seat_of_pair(app, me, other).await else { return Ok(false) };
        let (_, head) = app.log.head(room).await?;
        if head.is_none_or(|head| head.restricting <= seat.number) {
            return Ok(true);
        }
        app.seats.forget(room, me).await;
    }
    Ok(false)
}

/// Those of `people` who have a socket on any node.
pub(crate) async fn online(app: &App, people: &[AccountId]) -> Result<HashSet<AccountId>, Error> {
    app.bus.who_is_online(people).await
}

/// The friends of `me` who have a socket on any node.
pub(crate) async fn online_friends(app: &App, me: AccountId) -> Result<HashSet<AccountId>, Error> {
    online(app, &friendships::friend_ids(&app.pool, me).await?).await
}

/// People whose name begins with `prefix`.
pub(crate) async fn find(app: &App, me: AccountId, prefix: &str) -> Result<Vec<Summary>, Error> {
    app.limits.let_lookup_pass(me)?;
    people::beginning_with(&app.pool, me, prefix, i64::from(app.config.limits.lookup_people)).await
}

/// Friends behind `after`, at most `most`.
pub(crate) async fn friends(
    app: &App,
    me: AccountId,
    after: Option<AccountId>,
    most: u32,
) -> Result<Vec<Summary>, Error> {
    friendships::friends(&app.pool, me, after, i64::from(most)).await
}

/// Open requests to and from `me`, newest first, older than `before`, at most `most`.
pub(crate) async fn requests(
    app: &App,
    me: AccountId,
    before: Option<Uuid>,
    most: u32,
) -> Result<Vec<Listed>, Error> {
    friendships::requests(&app.pool, me, before, i64::from(most)).await
}

/// Whom `me` blocks behind `after`, at most `most`.
pub(crate) async fn blocks(
    app: &App,
    me: AccountId,
    after: Option<AccountId>,
    most: u32,
) -> Result<Vec<Summary>, Error> {
    friendships::blocks(&app.pool, me, after, i64::from(most)).await
}

/// Two people's friendship or block was changed and committed: brings it into the log, before anybody is told.
async fn changed(app: &App, one: AccountId, other: AccountId) -> Result<(), Error> {
    let room = RoomId::of_pair(one, other);
    app.seats.forget(room, one).await;
    app.seats.forget(room, other).await;
    app.producer.log_changes(room).await
}

/// Makes two people friends at the wish of an admin; false when one of them blocks the other.
pub(crate) async fn befriend(app: &App, admin: Admin<'_>, people: [AccountId; 2]) -> Result<bool, Error> {
    seats::is_current(app, RoomId::of_pair(people[0], people[1])).await?;
    let done = admin::befriend(&app.pool, admin, people).await?;
    changed(app, people[0], people[1]).await?;
    Ok(done)
}

/// Ends a friendship at the wish of an admin.
pub(crate) async fn part(app: &App, admin: Admin<'_>, people: [AccountId; 2]) -> Result<(), Error> {
    seats::is_current(app, RoomId::of_pair(people[0], people[1])).await?;
    admin::part(&app.pool, admin, people).await?;
    changed(app, people[0], people[1]).await
}

async fn accepted(app: &App, me: AccountId, id: Uuid) -> Result<Answered, Error> {
    let Some(other) = friendships::other_of(&app.pool, id, me).await? else { return Ok(Answered::NoRequest) };
    seats::is_current(app, RoomId::of_pair(me, other)).await?;
    let answered = friendships::accept(&app.pool, id, me).await?;
    if let Answered::Done(request) = &answered {
        changed(app, me, request.other).await?;
    }
    Ok(answered)
}

async fn answer(app: &App, answered: Answered) -> Result<Request, Error> {
    match answered {
        Answered::Done(request) => with_account(app, request).await,
        Answered::Own => {
            Err(Error::refused(Code::Forbidden, "Only the one who was asked can answer a request"))
        }
        Answered::Friends => Err(Error::refused(Code::Conflict, "You are friends already")),
        Answered::NoRequest => Err(Error::refused(Code::NotFound, "No such request")),
    }
}

async fn with_account(app: &App, request: friendships::Request) -> Result<Request, Error> {
    let account = accounts::summaries(&app.pool, &[request.other]).await?.pop().ok_or_else(no_such_person)?;
    Ok(Request { id: request.id, account, created_at: request.created_at })
}

fn only_one(found: &[AccountId]) -> Result<AccountId, Refusal> {
    match found {
        [] => Err(no_such_person()),
        [one] => Ok(*one),
        _ => Err(Refusal::new(Code::Conflict, "Several people have that name; say account_id")),
    }
}

/// The same for somebody who does not exist and for somebody who can't be asked.
fn no_such_person() -> Refusal {
    Refusal::new(Code::NotFound, "No such person")
}

fn oneself() -> Refusal {
    Refusal::new(Code::Invalid, "That is you")
}
