//! Messages as pages, frames and rows show them, and the text that they may hold.

use chrono::{DateTime, Utc};

use crate::error::{Code, Refusal};
use crate::id::{AccountId, MessageId, MessageNo, Position, RoomId};
use crate::user::Author;

/// A message as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Named by room, author and nonce.
    pub id: MessageId,
    /// The integer by which two of the dialects know it.
    pub no: MessageNo,
    /// Where it was said.
    pub room: RoomId,
    /// When in the order of the room.
    pub position: Position,
    /// By whom, with the badges worn at sending.
    pub author: Author,
    /// What was said; nothing when it was deleted or can't be read.
    pub text: Option<String>,
    /// The sender's own name for it.
    pub nonce: String,
    /// Distinct people who like it.
    pub likes: i64,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// Its last edit.
    pub edited_at: Option<DateTime<Utc>>,
    /// Its deletion.
    pub deleted_at: Option<DateTime<Utc>>,
    /// The other person, in a direct room.
    pub receiver: Option<AccountId>,
    /// When that person read it.
    pub read_at: Option<DateTime<Utc>>,
}

/// Text that may be stored and sent: not empty, not too long, without NUL. Kept as it was written; it is text and never
/// markup, so showing it is the client's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

impl MessageText {
    /// Checks `text` against a limit in characters (Unicode scalar values).
    pub fn parse(text: String, chars_max: usize) -> Result<Self, Refusal> {
        if text.trim().is_empty() {
            return Err(Refusal::new(Code::Empty, "Message cannot be empty"));
        }
        if text.contains('\0') {
            return Err(Refusal::new(Code::Invalid, "Message must not contain NUL"));
        }
        if text.chars().count() > chars_max {
            return Err(Refusal::new(
                Code::TooLong,
                format!("Message must have at most {chars_max} characters"),
            ));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The text, borrowed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_and_kept_as_it_was_written() {
        let code = |text: &str| MessageText::parse(text.to_owned(), 10).map_err(|refusal| refusal.code);
        assert_eq!(code(" <b>hi</b>").map(MessageText::into_string), Ok(" <b>hi</b>".to_owned()));
        assert!(code(&"é".repeat(10)).is_ok(), "the limit counts characters, not bytes");
        assert_eq!(code(&"é".repeat(11)), Err(Code::TooLong));
        assert_eq!(code(""), Err(Code::Empty));
        assert_eq!(code(" \n\t"), Err(Code::Empty));
        assert_eq!(code("a\0b"), Err(Code::Invalid));
    }
}
