//! People as the rest of the system sees them: who they are, what they are called, what they may wear.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;

/// What a person is beyond being a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Leads a live chat; shown as a badge.
    Host,
    /// Won a draw; shown as a badge.
    Winner,
    /// May use the admin routes.
    Admin,
}

impl Role {
    /// All roles, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Host, Self::Winner, Self::Admin];

    /// The name in claims, rows and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Winner => "winner",
            Self::Admin => "admin",
        }
    }

    /// The role of that name, in any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(name))
    }
}

/// A set of roles. Written as a list of names; names that are not roles of ours are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Roles(u8);

impl Roles {
    /// No role at all.
    pub const NONE: Self = Self(0);

    /// Whether the set has `role`.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Adds `role`.
    pub const fn insert(&mut self, role: Role) {
        self.0 |= 1 << role as u8;
    }

    /// The roles in the set, in the order of [`Role::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }

    /// The set of those names that are roles.
    pub fn from_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        names.into_iter().filter_map(|name| Role::parse(name.as_ref())).collect()
    }

    /// The names in the set, in the order of [`Role::ALL`].
    #[must_use]
    pub fn to_names(self) -> Vec<String> {
        self.iter().map(|role| role.as_str().to_owned()).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, |mut set, role| {
            set.insert(role);
            set
        })
    }
}

impl From<Vec<String>> for Roles {
    fn from(names: Vec<String>) -> Self {
        Self::from_names(names)
    }
}

impl From<Roles> for Vec<String> {
    fn from(roles: Roles) -> Self {
        roles.to_names()
    }
}

/// A row of `hubbub.account`, with the roles that are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name that events and most dialects use.
    pub id: AccountId,
    /// The integer by which two of the dialects know the account.
    pub no: i64,
    /// 1 to 64 characters, cleaned.
    pub username: String,
    /// As the person's issuer gave it.
    pub full_name: Option<String>,
    /// An http(s) address.
    pub avatar: Option<String>,
    /// From the claims, unless an admin set others.
    pub roles: Roles,
    /// A closed account is refused everywhere.
    pub is_active: bool,
    /// A token that carries an older version is refused.
    pub token_version: i32,
}

/// Who wrote a message, as it was shown when it was sent. Travels inside the event, so that delivering a message asks
/// no database who its author is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The account.
    pub id: AccountId,
    /// Its integer twin.
    pub no: i64,
    /// The name shown.
    pub username: String,
    /// The longer name, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// The picture, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// The badges worn at sending.
    #[serde(default, skip_serializing_if = "roles_are_none")]
    pub roles: Roles,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn roles_are_none(roles: &Roles) -> bool {
    *roles == Roles::NONE
}

impl From<&Account> for Author {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            no: account.no,
            username: account.username.clone(),
            full_name: account.full_name.clone(),
            avatar: account.avatar.clone(),
            roles: account.roles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_a_set_of_known_names() {
        let roles = Roles::from_names(["Winner", "host", "emperor", "host"]);
        assert_eq!(roles.to_names(), ["host", "winner"]);
        assert!(!roles.contains(Role::Admin));
        let json = serde_json::to_string(&roles).unwrap();
        assert_eq!(json, r#"["host","winner"]"#);
        assert_eq!(serde_json::from_str::<Roles>(&json).unwrap(), roles);
    }
}
