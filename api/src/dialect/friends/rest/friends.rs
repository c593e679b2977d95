//! `/api/v1/friends` and `/api/v1/accounts`: finding people, asking them, ending it, blocks.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use shared::error::{Code, Error};
use shared::id::AccountId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::account_id;
use crate::app::Shared;
use crate::auth::Caller;
use crate::chat::friends;
use crate::describe::{Invalid, Problem};
use crate::dialect::friends::wire::{
    AskBody, BlocksBody, FoundBody, FriendsBody, NameQuery, PageQuery, RequestBody, RequestsBody,
};
use crate::respond::{self, Failure};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(find_people))
        .routes(routes!(list_friends))
        .routes(routes!(list_requests, ask))
        .routes(routes!(accept))
        .routes(routes!(decline))
        .routes(routes!(list_blocks))
        .routes(routes!(unfriend))
        .routes(routes!(block, unblock))
}

/// People whose user name begins with some letters, in any case.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "friends", operation_id = "friends_find_people", params(
    ("username" = String, Query, description = "2 to 64 characters"),
), responses(
    (status = 200, description = "At most LIMIT_LOOKUP_PEOPLE, by name; nobody who blocks the caller", body = FoundBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "No username, or one of under 2 or over 64 characters", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
))]
async fn find_people(
    State(app): State<Shared>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<FoundBody>, Failure> {
    let query = NameQuery::parse(&uri)?;
    Ok(Json(FoundBody::of(&friends::find(&app, caller.account.id, &query.username).await?)))
}

/// The caller's friends, and who of them is online.
#[utoipa::path(get, path = "/api/v1/friends", tag = "friends", operation_id = "friends_list", params(
    ("limit" = Option<u32>, Query, description = "At least 1; cut to LIMIT_LIST_ITEMS, which is also what is given unasked"),
    ("cursor" = Option<Uuid>, Query, description = "The `next_cursor` of the page before"),
), responses(
    (status = 200, description = "A page, in an order that stays", body = FriendsBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "limit below 1 or not a number, cursor not one of ours", body = Invalid),
))]
async fn list_friends(
    State(app): State<Shared>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<FriendsBody>, Failure> {
    let page = PageQuery::parse(&uri, app.config.limits.list_items)?;
    let after = page.cursor.map(AccountId);
    let found = friends::friends(&app, caller.account.id, after, page.limit + 1).await?;
    let ids: Vec<AccountId> = found.iter().map(|friend| friend.id).collect();
    let online = match friends::online(&app, &ids).await {
        Ok(online) => Some(online),
        // Who is online is known to the bus alone; who is a friend is not.
        Err(Error::Unavailable(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Json(FriendsBody::of(found, online.as_ref(), page)))
}

/// Requests that nobody has answered yet, to and from the caller.
#[utoipa::path(get, path = "/api/v1/friends/requests", tag = "friends", operation_id = "friends_requests", params(
    ("limit" = Option<u32>, Query, description = "Of both kinds together; at least 1; cut to LIMIT_LIST_ITEMS, which is also what is given unasked"),
    ("cursor" = Option<Uuid>, Query, description = "The `next_cursor` of the page before"),
), responses(
    (status = 200, description = "A page, newest first", body = RequestsBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "limit below 1 or not a number, cursor not one of ours", body = Invalid),
))]
async fn list_requests(
    State(app): State<Shared>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<RequestsBody>, Failure> {
    let page = PageQuery::parse(&uri, app.config.limits.list_items)?;
    let found = friends::requests(&app, caller.account.id, page.cursor, page.limit + 1).await?;
    Ok(Json(RequestsBody::of(found, page)))
}

/// Asks somebody to be a friend. Whoever asks a person that has asked them accepts by it.
#[utoipa::path(post, path = "/api/v1/friends/requests", tag = "friends", operation_id = "friends_ask",
    request_body = AskBody, responses(
    (status = 201, description = "Asked, or friends already if the other had asked: `state` says which", body = RequestBody),
    (status = 400, description = "That is you", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 404, description = "No such person, or nobody who can be asked by you", body = Problem),
    (status = 409, description = "Asked before, friends already, or a name that several people have", body = Problem),
    (status = 422, description = "Not of this form", body = Invalid),
    (status = 429, description = "Over the rate, or too many unanswered requests", body = Problem),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn ask(
    State(app): State<Shared>,
    caller: Caller,
    respond::Json(body): respond::Json<AskBody>,
) -> Result<(StatusCode, Json<RequestBody>), Failure> {
    let asked = friends::request(&app, caller.account.id, body.whom()?).await.map_err(oneself)?;
    Ok((StatusCode::CREATED, Json(RequestBody::from(&asked))))
}

/// Accepts a request that was made to the caller. Again is no change.
#[utoipa::path(post, path = "/api/v1/friends/requests/{id}/accept", tag = "friends", operation_id = "friends_accept",
    params(("id" = Uuid, Path, description = "The request")), responses(
    (status = 200, description = "Friends, on every node, from this answer on", body = RequestBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "The caller's own request", body = Problem),
    (status = 404, description = "No such request, or none any more", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn accept(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RequestBody>, Failure> {
    let accepted = friends::accept(&app, caller.account.id, request_id(&id)?).await?;
    Ok(Json(RequestBody::accepted(&accepted)))
}

/// Declines a request that was made to the caller. Again is no change.
#[utoipa::path(post, path = "/api/v1/friends/requests/{id}/decline", tag = "friends", operation_id = "friends_decline",
    params(("id" = Uuid, Path, description = "The request")), responses(
    (status = 200, description = "Declined", body = RequestBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "The caller's own request", body = Problem),
    (status = 404, description = "No such request", body = Problem),
    (status = 409, description = "Friends since: that is ended by DELETE", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
))]
async fn decline(
    State(app): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RequestBody>, Failure> {
    let declined = friends::decline(&app, caller.account.id, request_id(&id)?).await?;
    Ok(Json(RequestBody::declined(&declined)))
}

/// Whom the caller blocks.
#[utoipa::path(get, path = "/api/v1/friends/blocks", tag = "friends", operation_id = "friends_blocks", params(
    ("limit" = Option<u32>, Query, description = "At least 1; cut to LIMIT_LIST_ITEMS, which is also what is given unasked"),
    ("cursor" = Option<Uuid>, Query, description = "The `next_cursor` of the page before"),
), responses(
    (status = 200, description = "A page, in an order that stays", body = BlocksBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "limit below 1 or not a number, cursor not one of ours", body = Invalid),
))]
async fn list_blocks(
    State(app): State<Shared>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<BlocksBody>, Failure> {
    let page = PageQuery::parse(&uri, app.config.limits.list_items)?;
    let after = page.cursor.map(AccountId);
    let found = friends::blocks(&app, caller.account.id, after, page.limit + 1).await?;
    Ok(Json(BlocksBody::of(found, page)))
}

/// Ends a friendship, and takes back a request of the caller's. Nothing to end is no error.
#[utoipa::path(delete, path = "/api/v1/friends/{account_id}", tag = "friends", operation_id = "friends_unfriend",
    params(("account_id" = Uuid, Path, description = "The other one")), responses(
    (status = 204, description = "No friends, on every node, from this answer on"),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn unfriend(
    State(app): State<Shared>,
    caller: Caller,
    Path(other): Path<String>,
) -> Result<StatusCode, Failure> {
    friends::unfriend(&app, caller.account.id, account_id(&other, "account_id")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Blocks somebody: neither writes to the other, and friendship and requests between the two end.
#[utoipa::path(post, path = "/api/v1/friends/{account_id}/block", tag = "friends", operation_id = "friends_block",
    params(("account_id" = Uuid, Path, description = "The other one")), responses(
    (status = 204, description = "Blocked, on every node, from this answer on"),
    (status = 400, description = "That is you", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 404, description = "No account has this id", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn block(
    State(app): State<Shared>,
    caller: Caller,
    Path(other): Path<String>,
) -> Result<StatusCode, Failure> {
    let other = account_id(&other, "account_id")?;
    friends::block(&app, caller.account.id, other).await.map_err(oneself)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the caller's own block back. What it ended stays ended.
#[utoipa::path(delete, path = "/api/v1/friends/{account_id}/block", tag = "friends", operation_id = "friends_unblock",
    params(("account_id" = Uuid, Path, description = "The other one")), responses(
    (status = 204, description = "Not blocked by the caller"),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn unblock(
    State(app): State<Shared>,
    caller: Caller,
    Path(other): Path<String>,
) -> Result<StatusCode, Failure> {
    friends::unblock(&app, caller.account.id, account_id(&other, "account_id")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn request_id(text: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(text).map_err(|_| Failure::invalid("id", "must be a UUID"))
}

/// Naming oneself is of the right form and makes no sense: 400 here, where a malformed value is 422.
fn oneself(error: Error) -> Failure {
    let is_oneself = error.code() == Code::Invalid;
    let failure = Failure::from(error);
    if is_oneself { failure.status(StatusCode::BAD_REQUEST) } else { failure }
}
