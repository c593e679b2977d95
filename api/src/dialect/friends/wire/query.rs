//! What the lists' addresses carry behind the question mark. A name that is not ours is ignored; of one that comes twice,
//! the first counts.

use axum::http::Uri;
use shared::id::Position;
use uuid::Uuid;

use crate::auth::claims::{NAME_CHARS_MAX, clean_name};
use crate::dialect::Caps;
use crate::dialect::wire::{BadQuery, pairs, value};

/// Fewer would find half of everybody.
const NAME_CHARS_MIN: usize = 2;

/// Messages of a page, unless the client says otherwise.
const LETTERS_UNASKED: u32 = 50;

/// `?limit=&cursor=` of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageQuery {
    /// At least 1, at most the cap.
    pub(crate) limit: u32,
    /// The last item that the client has.
    pub(crate) cursor: Option<Uuid>,
}

/// `?username=` of the look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameQuery {
    /// In the form in which names are kept.
    pub(crate) username: String,
}

impl PageQuery {
    /// A limit above `cap` is cut; one below 1, and whatever is not a number, is refused.
    pub(crate) fn parse(uri: &Uri, cap: u32) -> Result<Self, BadQuery> {
        let query = pairs(uri);
        let limit = match value(&query, "limit") {
            None => cap,
            Some(text) => limit(text)?,
        };
        let cursor = match value(&query, "cursor") {
            None => None,
            Some(text) => {
                Some(Uuid::try_parse(text).map_err(|_| BadQuery("cursor", "must be a next_cursor"))?)
            }
        };
        Ok(Self { limit: limit.min(cap), cursor })
    }

    /// The page of `found`, of which one more than it holds was asked for, and the cursor behind it.
    pub(crate) fn cut<T>(self, mut found: Vec<T>, id: impl Fn(&T) -> Uuid) -> (Vec<T>, Option<Uuid>) {
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let is_more = found.len() > most;
        found.truncate(most);
        let next = if is_more { found.last().map(id) } else { None };
        (found, next)
    }
}

impl NameQuery {
    pub(crate) fn parse(uri: &Uri) -> Result<Self, BadQuery> {
        let query = pairs(uri);
        let given = value(&query, "username").unwrap_or_default();
        let username = name(given).ok_or(BadQuery("username", "must have 2 to 64 characters"))?;
        if username.chars().count() < NAME_CHARS_MIN {
            return Err(BadQuery("username", "must have 2 to 64 characters"));
        }
        Ok(Self { username })
    }
}

/// A name in the form in which names are kept; nothing when no name has that form.
pub(super) fn name(given: &str) -> Option<String> {
    let fits = given.trim().chars().count() <= NAME_CHARS_MAX;
    clean_name(given).filter(|_| fits)
}

/// `?skip=&limit=&cursor=` of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryQuery {
    pub(crate) skip: u64,
    /// At least 1, at most the cap.
    pub(crate) limit: u32,
    /// Only messages before this place.
    pub(crate) cursor: Option<Position>,
}

/// `?caps=&resume=&close_codes=` of the socket. The token beside them is the authorizer's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketQuery {
    pub(crate) caps: Caps,
    /// Whether the first frame will say where the client was.
    pub(crate) resume: bool,
    /// Whether a refusal is told by a close code rather than by an HTTP status, which browsers hide from scripts.
    pub(crate) close_codes: bool,
}

impl HistoryQuery {
    /// A limit above `cap` is cut; one below 1, a skip below 0, and whatever is not a number, is refused.
    pub(crate) fn parse(uri: &Uri, cap: u32) -> Result<Self, BadQuery> {
        let query = pairs(uri);
        let skip = match value(&query, "skip") {
            None => 0,
            Some(text) => number(text).ok_or(BadQuery("skip", "must be a whole number of at least 0"))?,
        };
        let limit = match value(&query, "limit") {
            None => LETTERS_UNASKED,
            Some(text) => limit(text)?,
        };
        let cursor = match value(&query, "cursor") {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| BadQuery("cursor", "must be a next_cursor"))?),
        };
        Ok(Self { skip, limit: limit.min(cap), cursor })
    }
}

impl SocketQuery {
    pub(crate) fn parse(uri: &Uri) -> Self {
        let query = pairs(uri);
        Self {
            caps: Caps::parse(value(&query, "caps").unwrap_or_default()),
            resume: value(&query, "resume") == Some("1"),
            close_codes: value(&query, "close_codes") == Some("1"),
        }
    }
}

fn limit(text: &str) -> Result<u32, BadQuery> {
    let limit = number(text).filter(|limit| *limit >= 1);
    let limit = limit.ok_or(BadQuery("limit", "must be a whole number of at least 1"))?;
    Ok(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// A number too large to count with is only a large one.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/api/v1/friends?{query}").parse().expect("an address")
    }

    #[test]
    fn s26_a_list_is_never_longer_than_the_cap() {
        let limit = |query: &str| PageQuery::parse(&uri(query), 100).map(|query| query.limit);
        assert_eq!((limit(""), limit("limit=7&limit=8"), limit("limit=100")), (Ok(100), Ok(7), Ok(100)));
        for large in ["101", "99999999999999999999999999"] {
            assert_eq!(limit(&format!("limit={large}")), Ok(100), "{large} is cut");
        }
        for bad in ["0", "-1", "+1", "1.5", "", "abc", "%00"] {
            assert_eq!(limit(&format!("limit={bad}")).map_err(|bad| bad.0), Err("limit"), "{bad}");
        }
        for bad in ["", "1", "x", "%00"] {
            let cursor = PageQuery::parse(&uri(&format!("cursor={bad}")), 100);
            assert_eq!(cursor.map_err(|bad| bad.0), Err("cursor"), "{bad}");
        }
    }

    #[test]
    fn a_page_ends_with_its_cursor_unless_it_is_the_last() {
        let items = |n: u128| (1..=n).map(Uuid::from_u128).collect::<Vec<_>>();
        let page = PageQuery { limit: 3, cursor: None };
        for few in [0, 1, 3] {
            assert_eq!(page.cut(items(few), |id| *id), (items(few), None));
        }
        assert_eq!(page.cut(items(4), |id| *id), (items(3), Some(Uuid::from_u128(3))));
    }

    #[test]
    fn s49_a_search_needs_two_characters() {
        let username = |query: &str| NameQuery::parse(&uri(query)).map(|query| query.username);
        assert_eq!(username("username=an"), Ok("an".to_owned()));
        assert_eq!(username("username=%20An%20"), Ok("An".to_owned()));
        let long = "x".repeat(65);
        for bad in ["", "a", "%20a%20", "a%00", "%e2%80%8b%e2%80%8ba", &long] {
            assert_eq!(username(&format!("username={bad}")).map_err(|bad| bad.0), Err("username"), "{bad}");
        }
        assert_eq!(username("").map_err(|bad| bad.0), Err("username"));
    }

    #[test]
    fn s26_a_page_is_bounded_and_what_is_no_number_is_refused() {
        let parse = |query: &str| HistoryQuery::parse(&uri(query), 100);
        assert_eq!(parse(""), Ok(HistoryQuery { skip: 0, limit: 50, cursor: None }));
        let cursor = Some(Position { epoch: 2, seq: 41 });
        assert_eq!(parse("skip=7&limit=3&cursor=2:41"), Ok(HistoryQuery { skip: 7, limit: 3, cursor }));
        assert_eq!(parse("limit=101").map(|query| query.limit), Ok(100), "cut");
        assert_eq!(parse("skip=99999999999999999999999").map(|query| query.skip), Ok(u64::MAX));
        for (query, name) in [
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("skip=-1", "skip"),
            ("skip=1.5", "skip"),
            ("skip=", "skip"),
            ("cursor=41", "cursor"),
        ] {
            assert_eq!(parse(query).map_err(|bad| bad.0), Err(name), "{query}");
        }
    }

    #[test]
    fn a_socket_says_what_it_understands() {
        let query = SocketQuery::parse(&uri("token=x&caps=deleted,unheard-of,presence&resume=1"));
        assert_eq!(
            query,
            SocketQuery {
                caps: Caps { deleted: true, presence: true, delivered: false },
                resume: true,
                close_codes: false
            }
        );
        assert_eq!(SocketQuery::parse(&uri("token=x")).caps, Caps::default());
    }
}
