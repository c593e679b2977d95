//! Reading the room back, page by page, as a client does that was told to.

use harness::dialect::Spoken;
use reqwest::Method;
use serde_json::Value;
use shared::id::Position;

use super::{Answered, Caller};

/// What pages tell.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// The messages, oldest first.
    pub(crate) said: Vec<Spoken>,
    /// The pages as they came, newest first: with what one dialect alone shows.
    pub(crate) pages: Vec<Value>,
}

/// The room behind `from`, newest page first, at the caller's present node; nothing when a page could not be had whole.
pub(crate) async fn read(caller: &Caller, from: Position) -> Option<History> {
    let adapter = caller.room.adapter();
    let (mut said, mut pages) = (Vec::new(), Vec::new());
    let mut cursor: Option<String> = None;
    loop {
        let path = adapter.page(&caller.to, cursor.as_deref());
        let Answered::Done(page) = caller.asks(Method::GET, &path, None).await else { return None };
        if page["incomplete"] == true {
            return None;
        }
        let messages = adapter.messages(&page);
        let reached = messages.first().is_none_or(|oldest| oldest.position <= from);
        said.splice(0..0, messages.into_iter().filter(|said| said.position > from));
        cursor = match &page["next_cursor"] {
            Value::Null => None,
            Value::String(cursor) => Some(cursor.clone()),
            number => Some(number.to_string()),
        };
        pages.push(page);
        if reached || cursor.is_none() {
            return Some(History { said, pages });
        }
    }
}

/// What was said behind `from`, up to `to`: asked for until some node tells all of it.
pub(crate) async fn between(caller: &mut Caller, from: Position, to: Position) -> Vec<Spoken> {
    loop {
        if let Some(mut history) = read(caller, from).await {
            history.said.retain(|said| said.position <= to);
            return history.said;
        }
        caller.moves();
        caller.pauses().await;
    }
}

impl History {
    /// The messages as they came, in no order to rely on.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Value> {
        self.pages.iter().filter_map(|page| page["messages"].as_array()).flatten()
    }
}
