//! The live chat's session: which one is open now, and what it has come to.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::event::{Envelope, Event, LikeTarget};
use shared::id::RoomId;
use shared::store::live::{self, LiveSession};
use shared::store::messages;
use shared::{Code, Error};

use super::draw_window::{DrawSchedule, Window};
use super::history;
use crate::app::App;

/// How long a session is remembered by its id: its end moves when the settings do, on whichever node restarts first.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// The sessions this node knows, so that the usual call asks no database.
pub(crate) struct LiveSessions {
    schedule: DrawSchedule,
    enabled: bool,
    known: moka::future::Cache<DateTime<Utc>, LiveSession>,
    by_id: moka::future::Cache<i64, LiveSession>,
}

/// What a session has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Distinct people who like it.
    pub(crate) likes: i64,
    /// Messages in it.
    pub(crate) messages: i64,
    /// Of these, those of the last hour.
    pub(crate) recent_messages: i64,
    /// Whether a store was away, so that something may be missing.
    pub(crate) incomplete: bool,
}

impl LiveSessions {
    pub(crate) fn new(settings: &crate::config::LiveChatSettings) -> Self {
        Self {
            schedule: DrawSchedule::from(settings),
            enabled: settings.enabled,
            known: moka::future::Cache::new(16),
            by_id: moka::future::Cache::builder().max_capacity(1_000).time_to_live(KNOWN_FOR).build(),
        }
    }

    /// Whether the live chat is switched on at all.
    pub(crate) fn enabled(&self) -> bool {
        self.enabled
    }

    /// When the next window opens.
    pub(crate) fn next_start(&self) -> Option<DateTime<Utc>> {
        self.schedule.next_start(Utc::now())
    }
}

/// The session that is open now, created by whichever node needs it first; none while the chat is closed or disabled.
pub(crate) async fn current(app: &App) -> Result<Option<LiveSession>, Error> {
    if !app.sessions.enabled {
        return Ok(None);
    }
    let Some(window) = app.sessions.schedule.current(Utc::now()) else { return Ok(None) };
    let session = match app.sessions.known.get(&window.starts_at).await {
        Some(known) => known,
        // Boxed: it happens once a window, and would make the future of every request 30 KiB larger.
        None => Box::pin(first_asked(app, &window)).await?,
    };
    Ok(Some(LiveSession { ends_at: window.ends_at, ..session }))
}

async fn first_asked(app: &App, window: &Window) -> Result<LiveSession, Error> {
    let opened = app.sessions.known.try_get_with(window.starts_at, open(app, window)).await;
    opened.map_err(|error| Error::unavailable(error.to_string()))
}

/// As [`current`], refusing while the chat is closed.
pub(crate) async fn open_now(app: &App) -> Result<LiveSession, Error> {
    current(app).await?.ok_or_else(|| Error::refused(Code::NotActive, "Chat is not active"))
}

async fn open(app: &App, window: &Window) -> Result<LiveSession, Error> {
    let room = RoomId::of_live_session(window.starts_at.timestamp());
    let wanted =
        live::Window { room, name: &window.name, starts_at: window.starts_at, ends_at: window.ends_at };
    live::session_for_window(&app.pool, &wanted).await
}

/// Any session, open or over.
pub(crate) async fn by_id(app: &App, id: i64) -> Result<Option<LiveSession>, Error> {
    if let Some(current) = current(app).await?
        && current.id == id
    {
        return Ok(Some(current));
    }
    if let Some(known) = app.sessions.by_id.get(&id).await {
        return Ok(Some(known));
    }
    let found = live::by_id(&app.pool, id).await?;
    if let Some(session) = &found {
        app.sessions.by_id.insert(id, session.clone()).await;
    }
    Ok(found)
}

/// How many people like the session, and whether that may be behind.
pub(crate) async fn likes(app: &App, session: &LiveSession) -> Result<(i64, bool), Error> {
    let total = |entry: &Envelope| match (entry.event(), entry.total) {
        (Ok(Event::LikeChanged(like)), Some(total)) if like.target == LikeTarget::Session => Some(total),
        _ => None,
    };
    let tail = history::tail_until(app, session.room, || |entry: &Envelope| total(entry).is_some()).await;
    let newest = tail.as_ref().ok().and_then(|tail| tail.entries.iter().find_map(total));
    if let Some(total) = newest {
        return Ok((total, false));
    }
    match (live::by_room(&app.pool, session.room).await, tail) {
        (Ok(stored), tail) => {
            let is_whole = tail.is_ok_and(|tail| !tail.cut);
            Ok((stored.map_or(0, |stored| stored.total_likes), !is_whole))
        }
        // The log says that nobody changed it lately; how it stood before that is in Postgres alone.
        (Err(Error::Unavailable(_)), Ok(_)) => Ok((0, true)),
        (Err(error), _) => Err(error),
    }
}

/// Counts of the session. Waits a little for the persister, so that a caller sees what it just sent.
pub(crate) async fn totals(app: &App, session: &LiveSession) -> Result<Totals, Error> {
    let complete = history::stored_up_to_now(app, session.room).await;
    let (likes, likes_behind) = likes(app, session).await?;
    let counted = messages::counts(&app.pool, session.room, app.partition(session.room)).await;
    match counted {
        Ok(counts) => Ok(Totals {
            likes,
            messages: counts.rows.total,
            recent_messages: counts.rows.last_hour,
            incomplete: likes_behind || !complete,
        }),
        Err(Error::Unavailable(_)) => {
            let tail = history::tail(app, session.room).await?;
            let sent = tail.entries.iter().filter(|entry| matches!(entry.event(), Ok(Event::MessageSent(_))));
            let sent = i64::try_from(sent.count()).unwrap_or(i64::MAX);
            Ok(Totals { likes, messages: sent, recent_messages: sent, incomplete: true })
        }
        Err(error) => Err(error),
    }
}
