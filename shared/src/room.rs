//! Rooms: any conversation, whatever dialect opened it.

use uuid::Uuid;

use crate::id::{AccountId, RoomId};

/// What sort of conversation a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// One draw session of the live chat.
    Live,
    /// Two people.
    Direct,
    /// Members by invitation.
    Group,
    /// A named theme, open to all.
    Public,
}

impl RoomKind {
    /// The name in rows and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Public => "public",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Live, Self::Direct, Self::Group, Self::Public].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl RoomId {
    /// The room of two people, whoever of them asks first.
    #[must_use]
    pub fn of_pair(one: AccountId, other: AccountId) -> Self {
        Self(derived(&format!("direct:{}:{}", one.min(other), one.max(other))))
    }

    /// The room of the live session that starts at this second: every node that needs it first finds the same name.
    #[must_use]
    pub fn of_live_session(starts_at_secs: i64) -> Self {
        Self(derived(&format!("live:{starts_at_secs}")))
    }
}

/// UUID version 5 below a namespace of our own.
fn derived(name: &str) -> Uuid {
    let ours = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"rooms.hubbub");
    Uuid::new_v5(&ours, name.as_bytes())
}
