//! What a change makes of somebody: pure, so that every sequence of changes is a table in a test.

use crate::event::Became;

/// What somebody is in a room, as far as changes are about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) is_active: bool,
    pub(super) is_admin: bool,
    pub(super) is_banned: bool,
    pub(super) blocks: bool,
    /// Of the two people of a direct room, whichever is asked about.
    pub(super) is_friend: bool,
}

/// The columns that a change sets; the others stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) is_active: Option<bool>,
    pub(super) is_admin: Option<bool>,
    pub(super) is_banned: Option<bool>,
    pub(super) blocks: Option<bool>,
    pub(super) is_friend: Option<bool>,
}

impl Effect {
    pub(super) fn of(became: Became, before: State) -> Effect {
        let none = Effect::default();
        match became {
            // Whoever comes back after having left is no admin by that.
            Became::Member if before.is_active => none,
            Became::Member => Effect { is_active: Some(true), is_admin: Some(false), ..none },
            Became::Admin => Effect { is_active: Some(true), is_admin: Some(true), ..none },
            Became::Demoted => Effect { is_admin: Some(false), ..none },
            Became::Gone => Effect { is_active: Some(false), is_admin: Some(false), ..none },
            Became::Banned => {
                Effect { is_active: Some(false), is_admin: Some(false), is_banned: Some(true), ..none }
            }
            Became::Unbanned => Effect { is_banned: Some(false), ..none },
            Became::Blocking => Effect { blocks: Some(true), is_friend: Some(false), ..none },
            // What the block ended does not come back with its end.
            Became::Unblocking => Effect { blocks: Some(false), ..none },
            Became::Befriended => Effect { is_friend: Some(true), ..none },
            Became::Unfriended => Effect { is_friend: Some(false), ..none },
        }
    }

    pub(super) fn on(self, before: State) -> State {
        State {
            is_active: self.is_active.unwrap_or(before.is_active),
            is_admin: self.is_admin.unwrap_or(before.is_admin),
            is_banned: self.is_banned.unwrap_or(before.is_banned),
            blocks: self.blocks.unwrap_or(before.blocks),
            is_friend: self.is_friend.unwrap_or(before.is_friend),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Became; 10] = [
        Became::Member,
        Became::Admin,
        Became::Demoted,
        Became::Gone,
        Became::Banned,
        Became::Unbanned,
        Became::Blocking,
        Became::Unblocking,
        Became::Befriended,
        Became::Unfriended,
    ];

    fn after(changes: &[Became]) -> State {
        changes.iter().fold(State::default(), |state, became| Effect::of(*became, state).on(state))
    }

    #[test]
    fn a_change_that_is_repeated_changes_nothing() {
        for first in ALL {
            for second in ALL {
                assert_eq!(after(&[first, second, second]), after(&[first, second]), "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn who_was_an_admin_and_left_comes_back_as_a_member() {
        let state = after(&[Became::Admin, Became::Gone, Became::Member]);
        assert_eq!(state, State { is_active: true, ..State::default() });
        assert!(after(&[Became::Admin, Became::Member]).is_admin, "an admin who joins again stays one");
    }

    #[test]
    fn a_ban_ends_membership_and_its_end_does_not_bring_it_back() {
        assert_eq!(after(&[Became::Admin, Became::Banned]), State { is_banned: true, ..State::default() });
        assert_eq!(after(&[Became::Member, Became::Banned, Became::Unbanned]), State::default());
    }

    #[test]
    fn a_block_ends_a_friendship_and_its_end_does_not_bring_it_back() {
        let blocking = after(&[Became::Befriended, Became::Blocking]);
        assert_eq!(blocking, State { blocks: true, ..State::default() });
        assert_eq!(after(&[Became::Befriended, Became::Blocking, Became::Unblocking]), State::default());
        assert!(after(&[Became::Befriended, Became::Member]).is_friend);
        assert_eq!(after(&[Became::Befriended, Became::Unfriended]), State::default());
    }
}
