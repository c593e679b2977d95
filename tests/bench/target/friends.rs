//! The people of the pairs: who is whose friend, where they sit, and what they write.

use std::error::Error;
use std::net::SocketAddr;

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use uuid::Uuid;

use super::{Feed, TEXT_BYTES, Target, account};
use crate::tally::text_of;

/// Friendships that are made at once.
const FRIENDSHIPS: usize = 16;

impl Target {
    /// Makes friends of 0 and 1, of 2 and 3, and so on: `pairs` pairs. The peer has no such notion.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn befriend(&self, pairs: usize) -> Result<(), Box<dyn Error>> {
        let Feed::Hubbub { tokens, .. } = &self.feed else { return Ok(()) };
        let admin = tokens.with_roles("admin", 0, &["admin"]);
        let mut making = stream::iter(0..pairs)
            .map(|pair| {
                let [one, other] = [2 * pair, 2 * pair + 1].map(|number| account("friend", number as u64));
                let node = self.nodes[pair % self.nodes.len()];
                let url = format!("http://{node}/api/v1/admin/friendships/{one}/{other}");
                self.client.put(url).bearer_auth(&admin).send()
            })
            .buffer_unordered(FRIENDSHIPS);
        while let Some(answer) = making.next().await {
            answer?.error_for_status()?;
        }
        Ok(())
    }

    /// Where friend `number` sits: the node, and the path of their socket. The two of a pair sit on different nodes, as far as
    /// there are any.
    pub(crate) fn friend_seat(&self, number: usize) -> (SocketAddr, String) {
        let node = self.nodes[number % self.nodes.len()];
        match &self.feed {
            Feed::Hubbub { tokens, .. } => {
                let token = tokens.of("friend", number as u64);
                (node, format!("/api/v1/chat/ws/chat?token={token}"))
            }
            Feed::Peer { .. } => (node, format!("/{number}")),
        }
    }

    /// What is said to send message `number` to friend `to`. The peer hands it on as it is, so there it is as long as what we
    /// would make of it.
    pub(crate) fn letter(&self, to: usize, number: u64, nonce: Uuid) -> String {
        let of_length = |length| {
            json!({
                "type": "send_message", "receiver_id": account("friend", to as u64),
                "content": text_of(number, length), "client_msg_id": nonce,
            })
            .to_string()
        };
        match &self.feed {
            Feed::Hubbub { .. } => of_length(TEXT_BYTES),
            Feed::Peer { frame_bytes, .. } => {
                let around = of_length(*frame_bytes).len() - frame_bytes;
                of_length(frame_bytes.saturating_sub(around))
            }
        }
    }
}
