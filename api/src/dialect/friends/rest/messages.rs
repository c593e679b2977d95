//! `/api/v1/chat`: messages between friends.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use shared::error::{Code, Error, Refusal};
use shared::id::{AccountId, MessageId, Nonce, Position, RoomId};
use shared::message::Message;
use shared::store::accounts;
use shared::user::Author;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::wire::{
    AccountSummary, FullLetterBody, HistoryBody, HistoryQuery, OnlineBody, SendBody, UnreadBody,
};
use super::super::{count_message, draft};
use super::account_id;
use crate::app::Shared;
use crate::auth::Caller;
use crate::chat::history::{self, Which};
use crate::chat::{direct, friends, send};
use crate::describe::{Invalid, Problem};
use crate::dialect::wire;
use crate::hub::typing;
use crate::respond::{self, Failure};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(send_message))
        .routes(routes!(read_history))
        .routes(routes!(mark_read))
        .routes(routes!(delete_message))
        .routes(routes!(count_unread))
        .routes(routes!(list_online))
}

/// Sends a message to a friend. The answer comes when it is ordered and durable; that to a repeated send tells how the message
/// stands by now.
#[utoipa::path(post, path = "/api/v1/chat/messages", tag = "friends", operation_id = "friends_send_message",
    params(("Idempotency-Key" = Option<String>, Header, description = "Another place for client_msg_id")),
    request_body = SendBody, responses(
    (status = 201, description = "Accepted, now or at an earlier try under the same client_msg_id", body = FullLetterBody),
    (status = 400, description = "Nothing but white space", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "No friend of yours, blocked, or nobody", body = Problem),
    (status = 409, description = "This client_msg_id names another message already", body = Problem),
    (status = 422, description = "Too long, or not of this form", body = Invalid),
    (status = 429, description = "Over the rate; Retry-After says when to go on", body = Problem),
    (status = 503, description = "Outcome unknown: try again under the same client_msg_id", body = Problem),
))]
async fn send_message(
    State(app): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    respond::Json(body): respond::Json<SendBody>,
) -> Result<Response, Failure> {
    let nonce = wire::nonce_of(body.client_msg_id.as_deref(), &headers)?;
    let (me, receiver) = (&caller.account, AccountId(body.receiver_id));
    let draft = draft(&app, me.id, receiver, body.content, nonce.clone(), None);
    let draft = draft.map_err(|refusal| Failure::from(refusal).at("content"))?;
    let (room, text) = (draft.room, draft.text.as_str().to_owned());
    let receipt = send::send_to_friend(&app, me, receiver, draft).await?;
    typing::say(&app, me.id, receiver, false).await;
    count_message();
    let (message, delivered) = match receipt.entry.clone() {
        Some(entry) => {
            app.hub.take_in(&app, entry);
            (as_sent(&receipt, room, &nonce, Author::from(&**me), receiver, text), Position::default())
        }
        None => direct::as_it_stands(&app, room, receipt.id, receiver).await?,
    };
    let people = people(&app, &caller, receiver, &[]).await;
    let body = FullLetterBody::standing(&message, people[&receiver].clone(), delivered);
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// What two people have written to each other, newest first. Reading it changes nothing.
#[utoipa::path(get, path = "/api/v1/chat/messages/history/{friend_id}", tag = "friends", operation_id = "friends_history",
    params(
    ("friend_id" = uuid::Uuid, Path, description = "The other person; need not be a friend any more"),
    ("skip" = Option<u64>, Query, description = "Without the newest so many"),
    ("limit" = Option<u32>, Query, description = "At least 1, 50 unless given; cut to 100"),
    ("cursor" = Option<String>, Query, description = "next_cursor of the page before"),
), responses(
    (status = 200, description = "A page", body = HistoryBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 404, description = "You have no conversation with that person, or there is nobody of that id", body = Problem),
    (status = 422, description = "Not a UUID, a negative skip, a limit below 1, or not a cursor", body = Invalid),
))]
async fn read_history(
    State(app): State<Shared>,
    caller: Caller,
    Path(friend): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    let friend = account_id(&friend, "friend_id")?;
    let query = HistoryQuery::parse(&uri, app.config.limits.list_items)?;
    let room = direct::conversation(&app, caller.account.id, friend).await.map_err(no_conversation)?;
    let which = Which { before: query.cursor, skip: query.skip, limit: query.limit };
    let page = history::letters(&app, room, which).await?;
    let people = people(&app, &caller, friend, &page.messages).await;
    Ok(Json(HistoryBody::of(&page, &people, (query.skip, query.limit), room.0)).into_response())
}

/// Marks a message that was sent to you as read. Doing it again changes nothing.
#[utoipa::path(put, path = "/api/v1/chat/messages/{message_id}/read", tag = "friends", operation_id = "friends_mark_read",
    params(("message_id" = uuid::Uuid, Path, description = "A message that was sent to you")), responses(
    (status = 200, description = "The message, read", body = FullLetterBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 404, description = "No message was sent to you under this id", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn mark_read(
    State(app): State<Shared>,
    caller: Caller,
    Path(message): Path<String>,
) -> Result<Response, Failure> {
    let letter = direct::mark_read(&app, caller.account.id, message_id(&message)?).await?;
    let message = letter.message;
    let people = people(&app, &caller, message.author.id, std::slice::from_ref(&message)).await;
    let body = FullLetterBody::of(&message, people[&caller.account.id].clone(), message.position);
    Ok(Json(body).into_response())
}

/// Takes a message of yours back: it is gone from every history, and from the screens that know the cap `deleted`.
#[utoipa::path(delete, path = "/api/v1/chat/messages/{message_id}", tag = "friends", operation_id = "friends_delete_message",
    params(("message_id" = uuid::Uuid, Path, description = "A message of yours")), responses(
    (status = 204, description = "Gone, now or before"),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 404, description = "You have written no message of this id", body = Problem),
    (status = 422, description = "Not a UUID", body = Invalid),
    (status = 503, description = "Outcome unknown: try again", body = Problem),
))]
async fn delete_message(
    State(app): State<Shared>,
    caller: Caller,
    Path(message): Path<String>,
) -> Result<StatusCode, Failure> {
    direct::take_back(&app, caller.account.id, message_id(&message)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many messages you have not read, in all conversations together.
#[utoipa::path(get, path = "/api/v1/chat/messages/unread-count", tag = "friends", operation_id = "friends_unread_count",
    responses(
    (status = 200, description = "The count", body = UnreadBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
))]
async fn count_unread(State(app): State<Shared>, caller: Caller) -> Result<Json<UnreadBody>, Failure> {
    let (unread_count, incomplete) = direct::unread(&app, caller.account.id).await?;
    Ok(Json(UnreadBody { unread_count, incomplete }))
}

/// Which of your friends are here now.
#[utoipa::path(get, path = "/api/v1/chat/friends/online", tag = "friends", operation_id = "friends_online", responses(
    (status = 200, description = "Friends with a socket on any node", body = OnlineBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
))]
async fn list_online(State(app): State<Shared>, caller: Caller) -> Result<Json<OnlineBody>, Failure> {
    let online = friends::online_friends(&app, caller.account.id).await?;
    Ok(Json(OnlineBody { online_friends: online.into_iter().map(|friend| friend.0).collect() }))
}

/// A message as it stands the moment it was accepted.
fn as_sent(
    receipt: &send::Receipt,
    room: RoomId,
    nonce: &Nonce,
    author: Author,
    receiver: AccountId,
    text: String,
) -> Message {
    Message {
        id: receipt.id,
        no: receipt.no,
        room,
        position: receipt.position,
        author,
        text: Some(text),
        nonce: nonce.as_str().to_owned(),
        likes: 0,
        created_at: receipt.at,
        edited_at: None,
        deleted_at: None,
        receiver: Some(receiver),
        read_at: None,
    }
}

/// The caller and the other person. While Postgres is away the latter is shown as messages have it.
async fn people(
    app: &Shared,
    caller: &Caller,
    other: AccountId,
    messages: &[Message],
) -> HashMap<AccountId, AccountSummary> {
    let me = AccountSummary::from(&*caller.account);
    let known = accounts::summaries(&app.pool, &[other]).await.ok().and_then(|mut found| found.pop());
    let other_summary = match known {
        Some(summary) => AccountSummary::from(&summary),
        None => {
            let written = messages.iter().find(|message| message.author.id == other);
            written.map_or_else(
                || AccountSummary::unknown(other),
                |message| AccountSummary::from(&message.author),
            )
        }
    };
    HashMap::from([(caller.account.id, me), (other, other_summary)])
}

fn message_id(text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|_| Failure::invalid("message_id", "must be a UUID"))
}

/// A conversation that one has not is as absent as a person that there is not.
fn no_conversation(error: Error) -> Failure {
    match error.code() {
        Code::NotFound => Refusal::new(Code::NotFound, "Conversation not found").into(),
        _ => error.into(),
    }
}
