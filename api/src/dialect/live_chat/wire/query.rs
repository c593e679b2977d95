//! What this dialect's addresses carry behind the question mark. A name that is not ours is ignored; of one that comes
//! twice, the first counts.

use axum::http::Uri;
use shared::id::{MessageNo, Position};

use crate::dialect::wire::{BadQuery, pairs, value};

/// Messages of a page, unless the client says otherwise.
const LIMIT_UNASKED: u32 = 50;

/// `?limit=&before=` of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessagesQuery {
    /// At least 1, at most the cap.
    pub(crate) limit: u32,
    /// Only messages older than this one.
    pub(crate) before: Option<MessageNo>,
}

/// `?after=&close_codes=` of the socket. The token beside them is the authorizer's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketQuery {
    /// The last place that the client knows.
    pub(crate) after: Option<Position>,
    /// Whether a refusal is told by a close code rather than by an HTTP status, which browsers hide from scripts.
    pub(crate) close_codes: bool,
}

impl MessagesQuery {
    /// A limit above `cap` is cut; one below 1, and whatever is not a number, is refused.
    pub(crate) fn parse(uri: &Uri, cap: u32) -> Result<Self, BadQuery> {
        let query = pairs(uri);
        let limit = match value(&query, "limit") {
            None => LIMIT_UNASKED,
            Some(text) => limit(text).ok_or(BadQuery("limit", "must be a whole number of at least 1"))?,
        };
        let before = match value(&query, "before") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| BadQuery("before", "must be the id of a message"))?),
        };
        Ok(Self { limit: limit.min(cap), before: before.map(MessageNo) })
    }
}

impl SocketQuery {
    pub(crate) fn parse(uri: &Uri) -> Result<Self, BadQuery> {
        let query = pairs(uri);
        let after = match value(&query, "after") {
            None | Some("") => None,
            Some(text) => {
                Some(text.parse().map_err(|_| BadQuery("after", "must be a position, as in 1:42"))?)
            }
        };
        Ok(Self { after, close_codes: value(&query, "close_codes") == Some("1") })
    }
}

/// A number too large to count with is only a large one.
fn limit(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().unwrap_or(u32::MAX);
    (is_number && limit >= 1).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/live-chat/messages?{query}").parse().expect("an address")
    }

    #[test]
    fn s26_a_page_is_never_larger_than_the_cap_and_never_empty_by_request() {
        let limit = |query: &str| MessagesQuery::parse(&uri(query), 100).map(|query| query.limit);
        assert_eq!(limit(""), Ok(50));
        assert_eq!(limit("limit=7&limit=8&other=%00"), Ok(7));
        assert_eq!(limit("limit=100"), Ok(100));
        for large in ["101", "1000000000", "99999999999999999999999999"] {
            assert_eq!(limit(&format!("limit={large}")), Ok(100), "{large} is cut");
        }
        for bad in ["0", "000", "-1", "+1", "1.5", "1e9", "", "abc", "%31%00", "٣"] {
            assert_eq!(limit(&format!("limit={bad}")).map_err(|bad| bad.0), Err("limit"), "{bad}");
        }
        assert_eq!(MessagesQuery::parse(&uri(""), 20).map(|query| query.limit), Ok(20), "the cap wins");
    }

    #[test]
    fn before_is_a_message_id() {
        let before = |query: &str| MessagesQuery::parse(&uri(query), 100).map(|query| query.before);
        assert_eq!(before(""), Ok(None));
        assert_eq!(before("before=17"), Ok(Some(MessageNo(17))));
        assert_eq!(before("before=0"), Ok(Some(MessageNo(0))), "an id that we never give is nobody's");
        for bad in ["", "x", "1:2", "9223372036854775808"] {
            assert_eq!(before(&format!("before={bad}")).map_err(|bad| bad.0), Err("before"), "{bad}");
        }
    }

    #[test]
    fn a_socket_says_where_to_go_on_and_how_it_wants_to_be_refused() {
        let parse = |query: &str| SocketQuery::parse(&uri(query));
        let plain = SocketQuery { after: None, close_codes: false };
        assert_eq!(parse("token=secret"), Ok(plain));
        assert_eq!(parse("caps=deleted,unheard-of&close_codes=yes&after="), Ok(plain));
        let after = Some(Position { epoch: 2, seq: 41 });
        for written in ["after=2:41", "after=2%3A41"] {
            let query = format!("token=secret&{written}&close_codes=1");
            assert_eq!(parse(&query), Ok(SocketQuery { after, close_codes: true }), "{written}");
        }
        for bad in ["41", "2:", "-1:2", "2:41:1", "x"] {
            assert_eq!(parse(&format!("after={bad}")).map_err(|bad| bad.0), Err("after"), "{bad}");
        }
    }
}
