//! Who may do what. Pure: a seat in, a refusal out. What a seat says is true at its number; the log refuses whatever was
//! decided on an older one.

use shared::id::AccountId;
use shared::message::Message;
use shared::room::RoomKind;
use shared::store::rooms::Seat;
use shared::{Code, Refusal};

/// Whoever may not see a room can't tell it from one that does not exist.
pub(crate) fn may_read(seat: &Seat) -> Result<(), Refusal> {
    let is_member = seat.member.is_some_and(|member| member.is_active);
    let is_banned = seat.member.is_some_and(|member| member.is_banned);
    let allowed = match seat.kind {
        RoomKind::Live => true,
        RoomKind::Public => !is_banned,
        RoomKind::Direct | RoomKind::Group => is_member,
    };
    if allowed { Ok(()) } else { Err(no_such_room()) }
}

/// Sending needs a place in the room, a room that is open, and in a direct room nobody who blocks.
pub(crate) fn may_send(seat: &Seat) -> Result<(), Refusal> {
    may_read(seat)?;
    let has_place = seat.kind == RoomKind::Live || seat.member.is_some_and(|member| member.is_active);
    if has_place && seat.is_active && !seat.is_blocked {
        Ok(())
    } else {
        Err(forbidden("You may not write here"))
    }
}

/// Between two people where only friends write: both in, friends, and nobody who blocks. Whatever is missing, the answer is
/// the same, and the same as for somebody who does not exist.
pub(crate) fn may_send_to_friend(seat: &Seat) -> Result<(), Refusal> {
    let are_two = seat.kind == RoomKind::Direct
        && seat.member.is_some_and(|member| member.is_active)
        && seat.peer.is_some();
    if are_two && seat.is_active && seat.is_friend && !seat.is_blocked { Ok(()) } else { Err(not_friends()) }
}

/// The author alone gives a message another text.
pub(crate) fn may_edit(seat: &Seat, message: &Message, by: AccountId) -> Result<(), Refusal> {
    may_send(seat)?;
    if message.author.id == by { Ok(()) } else { Err(forbidden("Only its author may edit a message")) }
}

/// The author takes a message back, and so may an admin, except between two people.
pub(crate) fn may_delete(seat: &Seat, message: &Message, by: AccountId) -> Result<(), Refusal> {
    may_read(seat)?;
    let is_admin = seat.kind != RoomKind::Direct && is_admin(seat);
    if message.author.id == by || is_admin {
        Ok(())
    } else {
        Err(forbidden("Only its author or an admin may delete a message"))
    }
}

/// Admins say who is in a group; in a direct room that is settled for ever.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) fn may_change_members(seat: &Seat) -> Result<(), Refusal> {
    may_read(seat)?;
    match seat.kind {
        RoomKind::Group | RoomKind::Public if is_admin(seat) => Ok(()),
        _ => Err(forbidden("Only an admin may change the members of this room")),
    }
}

/// Anybody joins a public room by themselves, unless banned from it.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) fn may_join(seat: &Seat) -> Result<(), Refusal> {
    may_read(seat)?;
    match seat.kind {
        RoomKind::Public => Ok(()),
        _ if seat.member.is_some_and(|member| member.is_active) => Ok(()),
        _ => Err(no_such_room()),
    }
}

/// Whoever is in a room may go, but two people stay two.
#[cfg_attr(not(test), allow(dead_code, reason = "no dialect that is served yet has groups"))]
pub(crate) fn may_leave(seat: &Seat) -> Result<(), Refusal> {
    may_read(seat)?;
    match seat.kind {
        RoomKind::Group | RoomKind::Public => Ok(()),
        RoomKind::Live | RoomKind::Direct => Err(forbidden("This room can't be left")),
    }
}

fn is_admin(seat: &Seat) -> bool {
    seat.member.is_some_and(|member| member.is_active && member.is_admin)
}

/// The same for an absent room and for one that the caller may not see.
pub(crate) fn no_such_room() -> Refusal {
    Refusal::new(Code::NotFound, "No such room")
}

/// The same for a stranger, for a block of either side, for oneself and for somebody who does not exist.
pub(crate) fn not_friends() -> Refusal {
    Refusal::new(Code::NotFriends, "You can only write to your friends")
}

fn forbidden(message: &'static str) -> Refusal {
    Refusal::new(Code::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Utc;
    use shared::store::rooms::Member;

    fn seat(kind: RoomKind, member: Option<(bool, bool)>) -> Seat {
        let member = member.map(|(is_active, is_admin)| Member {
            is_admin,
            is_active,
            is_banned: false,
            number: 1,
            joined_at: Utc::now(),
        });
        Seat {
            kind,
            is_active: true,
            number: 1,
            restricting: 0,
            is_blocked: false,
            peer: None,
            is_friend: false,
            member,
        }
    }

    fn code(decision: Result<(), Refusal>) -> Option<Code> {
        decision.err().map(|refusal| refusal.code)
    }

    #[test]
    fn s11_a_room_that_one_may_not_see_is_not_found() {
        use RoomKind::{Direct, Group, Live, Public};
        for (kind, member, read, send, change) in [
            (Group, None, Some(Code::NotFound), Some(Code::NotFound), Some(Code::NotFound)),
            (Group, Some((false, true)), Some(Code::NotFound), Some(Code::NotFound), Some(Code::NotFound)),
            (Group, Some((true, false)), None, None, Some(Code::Forbidden)),
            (Group, Some((true, true)), None, None, None),
            (Direct, None, Some(Code::NotFound), Some(Code::NotFound), Some(Code::NotFound)),
            (Direct, Some((true, true)), None, None, Some(Code::Forbidden)),
            (Public, None, None, Some(Code::Forbidden), Some(Code::Forbidden)),
            (Public, Some((true, false)), None, None, Some(Code::Forbidden)),
            (Live, None, None, None, Some(Code::Forbidden)),
        ] {
            let seat = seat(kind, member);
            let decided = (code(may_read(&seat)), code(may_send(&seat)), code(may_change_members(&seat)));
            assert_eq!(decided, (read, send, change), "{kind:?} {member:?}");
        }
    }

    #[test]
    fn a_ban_hides_a_public_room_and_a_block_or_a_closed_room_ends_sending() {
        let mut banned = seat(RoomKind::Public, Some((false, false)));
        banned.member.as_mut().expect("a member").is_banned = true;
        assert_eq!(code(may_read(&banned)), Some(Code::NotFound));
        assert_eq!(code(may_join(&banned)), Some(Code::NotFound));
        let blocked = Seat { is_blocked: true, ..seat(RoomKind::Direct, Some((true, false))) };
        assert_eq!((code(may_read(&blocked)), code(may_send(&blocked))), (None, Some(Code::Forbidden)));
        let closed = Seat { is_active: false, ..seat(RoomKind::Group, Some((true, false))) };
        assert_eq!((code(may_read(&closed)), code(may_send(&closed))), (None, Some(Code::Forbidden)));
    }

    #[test]
    fn s49_only_friends_write_to_each_other_and_nobody_learns_what_is_missing() {
        let peer = Some(AccountId(uuid::Uuid::nil()));
        let friends = Seat { peer, is_friend: true, ..seat(RoomKind::Direct, Some((true, false))) };
        assert_eq!(may_send_to_friend(&friends), Ok(()));
        for lacking in [
            Seat { is_friend: false, ..friends.clone() },
            Seat { is_blocked: true, ..friends.clone() },
            Seat { is_active: false, ..friends.clone() },
            Seat { peer: None, ..friends.clone() },
            Seat { member: None, ..friends.clone() },
            Seat { peer, is_friend: true, ..seat(RoomKind::Direct, Some((false, false))) },
            Seat { kind: RoomKind::Group, ..friends.clone() },
            Seat { kind: RoomKind::Public, ..friends.clone() },
            Seat { kind: RoomKind::Live, ..friends },
        ] {
            assert_eq!(may_send_to_friend(&lacking), Err(not_friends()), "{lacking:?}");
        }
    }
}
