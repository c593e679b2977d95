//! `/live-chat`: the REST calls. All need a sign-in, and each counts its caller among the viewers for five minutes.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use shared::error::{Code, Error, Refusal};
use shared::event::LikeTarget;
use shared::id::MessageNo;
use shared::store::live::LiveSession;
use shared::stream::Wanted;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wire::{
    LikesBody, MessageLiked, MessagesBody, MessagesQuery, SendBody, Sent, SessionBody, SessionLiked,
    StatsBody, StatusBody, ViewersBody,
};
use super::{count_message, draft};
use crate::app::Shared;
use crate::auth::Caller;
use crate::chat::{history, like, live_session, send, viewers};
use crate::describe::{Invalid, Problem};
use crate::dialect::wire;
use crate::respond::{self, Failure};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(read_status))
        .routes(routes!(read_messages))
        .routes(routes!(read_viewers))
        .routes(routes!(read_likes))
        .routes(routes!(read_stats))
        .routes(routes!(like_session, unlike_session))
        .routes(routes!(like_message, unlike_message))
        .routes(routes!(send_message))
}

/// Whether the chat is open, and its session.
#[utoipa::path(get, path = "/live-chat/status", tag = "live_chat", operation_id = "live_chat_status", responses(
    (status = 200, description = "Open, closed or switched off", body = StatusBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
))]
async fn read_status(State(app): State<Shared>, caller: Caller) -> Result<Json<StatusBody>, Failure> {
    if !app.sessions.enabled() {
        return Ok(Json(StatusBody::disabled()));
    }
    let Some(session) = live_session::current(&app).await? else {
        return Ok(Json(StatusBody::closed(app.sessions.next_start())));
    };
    let (watching, likes, head) = tokio::join!(
        watching(&app, &session, &caller),
        live_session::likes(&app, &session),
        history::head(&app, session.room),
    );
    let ((viewers, viewers_unknown), (likes, likes_behind)) = (watching?, likes?);
    let (head, head_unknown) = unless_away(head)?;
    let incomplete = viewers_unknown || likes_behind || head_unknown;
    Ok(Json(StatusBody::open(
        SessionBody::of(&session, viewers, likes),
        head.map(|head| head.position),
        incomplete,
    )))
}

/// The newest messages, or those before one, oldest first.
#[utoipa::path(get, path = "/live-chat/messages", tag = "live_chat", operation_id = "live_chat_messages", params(
    ("limit" = Option<u32>, Query, description = "At least 1, 50 unless given; cut to LIVE_CHAT_MESSAGE_HISTORY_LIMIT"),
    ("before" = Option<i64>, Query, description = "Only messages older than the one with this id"),
), responses(
    (status = 200, description = "A page", body = MessagesBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
    (status = 422, description = "limit below 1 or not a number, before not an id", body = Invalid),
))]
async fn read_messages(State(app): State<Shared>, caller: Caller, uri: Uri) -> Result<Response, Failure> {
    let query = MessagesQuery::parse(&uri, app.config.live_chat.message_history_limit)?;
    let session = attended(&app, &caller).await?;
    let page = history::page(&app, session.room, query.before, query.limit).await?;
    Ok(Json(MessagesBody::from(&page)).into_response())
}

/// How many people watch.
#[utoipa::path(get, path = "/live-chat/viewers", tag = "live_chat", operation_id = "live_chat_viewers", responses(
    (status = 200, description = "Distinct people, the caller among them", body = ViewersBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
))]
async fn read_viewers(State(app): State<Shared>, caller: Caller) -> Result<Json<ViewersBody>, Failure> {
    let session = live_session::open_now(&app).await?;
    let (viewer_count, incomplete) = watching(&app, &session, &caller).await?;
    Ok(Json(ViewersBody { viewer_count, session_id: session.id, session_name: session.name, incomplete }))
}

/// How many people like the session.
#[utoipa::path(get, path = "/live-chat/likes", tag = "live_chat", operation_id = "live_chat_likes", responses(
    (status = 200, description = "Distinct people", body = LikesBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
))]
async fn read_likes(State(app): State<Shared>, caller: Caller) -> Result<Json<LikesBody>, Failure> {
    let session = attended(&app, &caller).await?;
    let (total_likes, incomplete) = live_session::likes(&app, &session).await?;
    Ok(Json(LikesBody { total_likes, session_id: session.id, session_name: session.name, incomplete }))
}

/// Everything that is counted about the session.
#[utoipa::path(get, path = "/live-chat/stats", tag = "live_chat", operation_id = "live_chat_stats", responses(
    (status = 200, description = "Counts; recent messages are those of the last hour", body = StatsBody),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
))]
async fn read_stats(State(app): State<Shared>, caller: Caller) -> Result<Json<StatsBody>, Failure> {
    let session = live_session::open_now(&app).await?;
    let (watching, totals) =
        tokio::join!(watching(&app, &session, &caller), live_session::totals(&app, &session));
    Ok(Json(StatsBody::of(&session, watching?, &totals?)))
}

/// Likes the session.
#[utoipa::path(post, path = "/live-chat/like", tag = "live_chat", operation_id = "live_chat_like", responses(
    (status = 200, description = "Liked", body = SessionLiked),
    (status = 400, description = "Liked before; the body holds total_likes, too", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
))]
async fn like_session(State(app): State<Shared>, caller: Caller) -> Result<Json<SessionLiked>, Failure> {
    let total_likes = set_session_like(&app, &caller, Wanted::Liked).await?;
    Ok(Json(SessionLiked { message: "Session liked successfully", total_likes }))
}

/// Takes the like of the session back.
#[utoipa::path(delete, path = "/live-chat/like", tag = "live_chat", operation_id = "live_chat_unlike", responses(
    (status = 200, description = "No longer liked", body = SessionLiked),
    (status = 400, description = "Was not liked; the body holds total_likes, too", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
))]
async fn unlike_session(State(app): State<Shared>, caller: Caller) -> Result<Json<SessionLiked>, Failure> {
    let total_likes = set_session_like(&app, &caller, Wanted::NotLiked).await?;
    Ok(Json(SessionLiked { message: "Session like removed successfully", total_likes }))
}

/// Likes a message.
#[utoipa::path(post, path = "/live-chat/like-message/{message_id}", tag = "live_chat",
    operation_id = "live_chat_like_message",
    params(("message_id" = i64, Path, description = "A message of the open session")), responses(
    (status = 200, description = "Liked", body = MessageLiked),
    (status = 400, description = "Liked before; the body holds likes, too", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
    (status = 404, description = "No such message in the open session", body = Problem),
    (status = 422, description = "Not a message id", body = Invalid),
))]
async fn like_message(
    State(app): State<Shared>,
    caller: Caller,
    Path(message): Path<String>,
) -> Result<Json<MessageLiked>, Failure> {
    let likes = set_message_like(&app, &caller, &message, Wanted::Liked).await?;
    Ok(Json(MessageLiked { message: "Message liked successfully", likes }))
}

/// Takes the like of a message back.
#[utoipa::path(delete, path = "/live-chat/like-message/{message_id}", tag = "live_chat",
    operation_id = "live_chat_unlike_message",
    params(("message_id" = i64, Path, description = "A message of the open session")), responses(
    (status = 200, description = "No longer liked", body = MessageLiked),
    (status = 400, description = "Was not liked; the body holds likes, too", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
    (status = 404, description = "No such message in the open session", body = Problem),
    (status = 422, description = "Not a message id", body = Invalid),
))]
async fn unlike_message(
    State(app): State<Shared>,
    caller: Caller,
    Path(message): Path<String>,
) -> Result<Json<MessageLiked>, Failure> {
    let likes = set_message_like(&app, &caller, &message, Wanted::NotLiked).await?;
    Ok(Json(MessageLiked { message: "Message like removed successfully", likes }))
}

/// Sends a message. The answer comes when it is ordered and durable.
#[utoipa::path(post, path = "/live-chat/send-message", tag = "live_chat", operation_id = "live_chat_send_message",
    params(("Idempotency-Key" = Option<String>, Header, description = "Another place for client_msg_id")),
    request_body = SendBody, responses(
    (status = 200, description = "Accepted, now or at an earlier try under the same client_msg_id", body = Sent),
    (status = 400, description = "Nothing but white space", body = Problem),
    (status = 401, description = "No token, or one that does not hold", body = Problem),
    (status = 403, description = "Chat is not active", body = Problem),
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
) -> Result<Json<Sent>, Failure> {
    let session = attended(&app, &caller).await?;
    let nonce = wire::nonce_of(body.client_msg_id.as_deref(), &headers)?;
    let draft = draft(&app, &session, body.message, nonce.clone());
    let draft = draft.map_err(|refusal| Failure::from(refusal).at("message"))?;
    let receipt = send::send_message(&app, &caller.account, draft).await?;
    count_message();
    Ok(Json(Sent::of(&session, nonce.as_str(), &receipt)))
}

async fn set_session_like(app: &Shared, caller: &Caller, wanted: Wanted) -> Result<i64, Failure> {
    let session = attended(app, caller).await?;
    like::set_like(app, caller.account.id, session.room, LikeTarget::Session, wanted)
        .await
        .map_err(|error| with_total(error, "total_likes"))
}

async fn set_message_like(
    app: &Shared,
    caller: &Caller,
    message: &str,
    wanted: Wanted,
) -> Result<i64, Failure> {
    let no = message.parse().map_err(|_| Failure::invalid("message_id", "must be the id of a message"))?;
    let session = attended(app, caller).await?;
    let found = history::find(app, MessageNo(no)).await?;
    // What is deleted, or said elsewhere, is as absent as what never was.
    let likeable = found.filter(|message| message.room == session.room && message.text.is_some());
    let Some(message) = likeable else {
        return Err(Refusal::new(Code::NotFound, "Message not found").into());
    };
    let target = LikeTarget::Message { id: message.id, no: message.no };
    like::set_like(app, caller.account.id, session.room, target, wanted)
        .await
        .map_err(|error| with_total(error, "likes"))
}

/// A refused like still tells the count, under the name that the accepted one uses.
fn with_total(error: Error, name: &str) -> Failure {
    let total = match &error {
        Error::Refused(refusal) => refusal.total,
        Error::Unavailable(_) | Error::Bug(_) => None,
    };
    let failure = Failure::from(error);
    match total {
        Some(total) => failure.with(name, total),
        None => failure,
    }
}

/// The open session, with the caller noted as watching it. The note is not waited for: while the bus is away, nothing but
/// the number of viewers suffers. Nor is it made for those whom a busy node refuses: a refusal has to cost little.
async fn attended(app: &Shared, caller: &Caller) -> Result<LiveSession, Failure> {
    let session = live_session::open_now(app).await?;
    if app.limits.is_busy() {
        return Ok(session);
    }
    let (app, room, person) = (app.clone(), session.room, caller.account.id);
    tokio::spawn(async move {
        if let Err(error) = viewers::seen(&app, room, person).await {
            tracing::debug!(%error, "a viewer was not noted");
        }
    });
    Ok(session)
}

/// How many watch, the caller now among them, and whether that could not be told.
async fn watching(app: &Shared, session: &LiveSession, caller: &Caller) -> Result<(u64, bool), Error> {
    let seen = unless_away(viewers::seen(app, session.room, caller.account.id).await)?;
    Ok((seen.0.unwrap_or(0), seen.1))
}

/// What a store said, or nothing (and then `true`: the answer is incomplete) while it is away.
fn unless_away<T>(answer: Result<T, Error>) -> Result<(Option<T>, bool), Error> {
    match answer {
        Ok(value) => Ok((Some(value), false)),
        Err(Error::Unavailable(_)) => Ok((None, true)),
        Err(error) => Err(error),
    }
}
