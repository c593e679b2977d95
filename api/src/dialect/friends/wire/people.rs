//! Bodies about people: who they are, who is whose friend, who asked whom.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use shared::id::AccountId;
use shared::store::accounts::Summary;
use shared::store::friendships::Listed;
use shared::user::{Account, Author};
use utoipa::ToSchema;
use uuid::Uuid;

use super::PageQuery;
use super::query::name;
use crate::chat::friends::{Outcome, Request, Whom};
use crate::dialect::wire::ZonedUtc;
use crate::respond::Failure;

/// A person as other people see them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AccountSummary {
    pub(super) account_id: Uuid,
    /// The name shown, 1 to 64 characters.
    username: String,
    /// The longer name, if there is one.
    #[schema(required = true)]
    full_name: Option<String>,
    /// An http(s) address of a picture, if there is one.
    #[schema(required = true)]
    avatar: Option<String>,
}

impl From<&Summary> for AccountSummary {
    fn from(summary: &Summary) -> Self {
        Self {
            account_id: summary.id.0,
            username: summary.username.clone(),
            full_name: summary.full_name.clone(),
            avatar: summary.avatar.clone(),
        }
    }
}

impl AccountSummary {
    /// Somebody of whom nothing more can be told now.
    pub(crate) fn unknown(id: AccountId) -> Self {
        let username = format!("user-{}", &id.0.simple().to_string()[..8]);
        Self { account_id: id.0, username, full_name: None, avatar: None }
    }
}

impl From<&Account> for AccountSummary {
    fn from(account: &Account) -> Self {
        Self::from(&Author::from(account))
    }
}

impl From<&Author> for AccountSummary {
    fn from(author: &Author) -> Self {
        Self {
            account_id: author.id.0,
            username: author.username.clone(),
            full_name: author.full_name.clone(),
            avatar: author.avatar.clone(),
        }
    }
}

/// People who were found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundBody {
    accounts: Vec<AccountSummary>,
}

impl FoundBody {
    pub(crate) fn of(found: &[Summary]) -> Self {
        Self { accounts: found.iter().map(AccountSummary::from).collect() }
    }
}

/// A friend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Friend {
    #[serde(flatten)]
    account: AccountSummary,
    /// Whether the friend has a socket open, on any node.
    online: bool,
}

/// A page of friends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FriendsBody {
    friends: Vec<Friend>,
    /// What the next page's `cursor` is; null on the last.
    #[schema(required = true)]
    next_cursor: Option<Uuid>,
    /// Present and true when it can't be told now who is online.
    #[serde(skip_serializing_if = "is_complete")]
    #[schema(required = false)]
    incomplete: bool,
}

impl FriendsBody {
    /// `found` has one more than the page holds, if there are more; nobody knows who is online without `online`.
    pub(crate) fn of(found: Vec<Summary>, online: Option<&HashSet<AccountId>>, page: PageQuery) -> Self {
        let (found, next_cursor) = page.cut(found, |friend| friend.id.0);
        let friend = |friend: &Summary| Friend {
            account: friend.into(),
            online: online.is_some_and(|online| online.contains(&friend.id)),
        };
        Self { friends: found.iter().map(friend).collect(), next_cursor, incomplete: online.is_none() }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_complete(incomplete: &bool) -> bool {
    !incomplete
}

/// A page of the people whom the caller blocks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlocksBody {
    blocks: Vec<AccountSummary>,
    /// What the next page's `cursor` is; null on the last.
    #[schema(required = true)]
    next_cursor: Option<Uuid>,
}

impl BlocksBody {
    pub(crate) fn of(found: Vec<Summary>, page: PageQuery) -> Self {
        let (found, next_cursor) = page.cut(found, |blocked| blocked.id.0);
        Self { blocks: found.iter().map(AccountSummary::from).collect(), next_cursor }
    }
}

/// Who is asked; one of the two.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct AskBody {
    /// The person's id.
    #[schema(value_type = Option<Uuid>, nullable = false)]
    account_id: Option<String>,
    /// The person's whole user name, in any case.
    #[schema(nullable = false)]
    username: Option<String>,
}

impl AskBody {
    pub(crate) fn whom(self) -> Result<Whom, Failure> {
        match (self.account_id, self.username) {
            (Some(id), None) => {
                let id = id.parse().map_err(|_| Failure::invalid("account_id", "must be a UUID"))?;
                Ok(Whom::Id(id))
            }
            (None, Some(given)) => {
                let name = name(&given);
                let name =
                    name.ok_or_else(|| Failure::invalid("username", "must have 1 to 64 characters"))?;
                Ok(Whom::Name(name))
            }
            _ => Err(Failure::invalid("body", "must have either account_id or username")),
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RequestState {
    /// The other has it before them.
    Pending,
    /// The two are friends.
    Accepted,
    /// It was declined.
    Declined,
}

/// A request, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestBody {
    id: Uuid,
    /// The other one.
    account: AccountSummary,
    created_at: ZonedUtc,
    state: RequestState,
}

impl RequestBody {
    pub(crate) fn accepted(request: &Request) -> Self {
        Self::of(request, RequestState::Accepted)
    }

    pub(crate) fn declined(request: &Request) -> Self {
        Self::of(request, RequestState::Declined)
    }

    fn of(request: &Request, state: RequestState) -> Self {
        Self {
            id: request.id,
            account: (&request.account).into(),
            created_at: ZonedUtc(request.created_at),
            state,
        }
    }
}

impl From<&Outcome> for RequestBody {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Pending(request) => Self::of(request, RequestState::Pending),
            Outcome::Accepted(request) => Self::of(request, RequestState::Accepted),
        }
    }
}

/// A request that nobody has answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenRequest {
    id: Uuid,
    /// The other one.
    account: AccountSummary,
    created_at: ZonedUtc,
}

/// A page of open requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestsBody {
    /// Those that the caller may answer.
    incoming: Vec<OpenRequest>,
    /// Those that the caller made.
    outgoing: Vec<OpenRequest>,
    /// What the next page's `cursor` is; null on the last.
    #[schema(required = true)]
    next_cursor: Option<Uuid>,
}

impl RequestsBody {
    pub(crate) fn of(found: Vec<Listed>, page: PageQuery) -> Self {
        let (found, next_cursor) = page.cut(found, |request| request.id);
        let (incoming, outgoing): (Vec<Listed>, Vec<Listed>) =
            found.into_iter().partition(|request| request.incoming);
        let open = |requests: &[Listed]| {
            let open = |request: &Listed| OpenRequest {
                id: request.id,
                account: (&request.account).into(),
                created_at: ZonedUtc(request.created_at),
            };
            requests.iter().map(open).collect()
        };
        Self { incoming: open(&incoming), outgoing: open(&outgoing), next_cursor }
    }
}
