//! Reading the room back, page by page, as a client does that was told to.

use harness::load::Said;
use reqwest::Method;
use serde_json::Value;
use shared::id::Position;

use super::{Answered, Caller};

/// Messages of a page: few enough that a run has many pages.
const PAGE: usize = 200;

/// A message of a page.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) said: Said,
    pub(crate) likes: i64,
}

/// The room behind `from`, newest page first, at the caller's present node; nothing when a page could not be had whole.
pub(crate) async fn read(caller: &Caller, from: Position) -> Option<Vec<Shown>> {
    let mut pages: Vec<Vec<Shown>> = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/live-chat/messages?limit={PAGE}{before}");
        let Answered::Done(page) = caller.asks(Method::GET, &path, None).await else { return None };
        if page["incomplete"] == true {
            return None;
        }
        let shown: Vec<Shown> = page["messages"].as_array()?.iter().map(shown).collect();
        let reached = shown.first().is_none_or(|oldest| oldest.said.position <= from);
        let cursor = page["next_cursor"].as_i64();
        pages.push(shown);
        match cursor {
            Some(cursor) if !reached => before = format!("&before={cursor}"),
            _ => break,
        }
    }
    let oldest_first = pages.into_iter().rev().flatten();
    Some(oldest_first.filter(|shown| shown.said.position > from).collect())
}

/// What was said behind `from`, up to `to`: asked for until some node tells all of it.
pub(crate) async fn between(caller: &mut Caller, from: Position, to: Position) -> Vec<Said> {
    loop {
        if let Some(shown) = read(caller, from).await {
            let said = shown.into_iter().map(|shown| shown.said);
            return said.filter(|said| said.position <= to).collect();
        }
        caller.moves();
        caller.pauses().await;
    }
}

fn shown(message: &Value) -> Shown {
    Shown { said: Said::of(message), likes: message["likes"].as_i64().unwrap_or(-1) }
}
