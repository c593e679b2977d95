//! What a socket is told of what it sent.

use shared::id::MessageId;
use uuid::Uuid;

use super::*;
use crate::hub::people::tests::{connection, read_all};

/// A room in which one thing has happened, by `origin`.
fn room_with(origin: Option<Origin>) -> (State, Position) {
    let mut state = State::new(Reach::People, &Arc::default());
    let position = Position { epoch: 1, seq: 7 };
    let what =
        Happening::MessageDeleted { id: MessageId(Uuid::nil()), by: AccountId(Uuid::nil()), at: Utc::now() };
    let room = RoomId(Uuid::nil());
    state.ring.begin(Position { epoch: 1, seq: 6 });
    state.ring.push(Arc::new(Happened { room, position, at: Utc::now(), origin, what }));
    state.last = Some(position);
    (state, position)
}

#[tokio::test]
async fn a_send_that_turns_out_to_be_its_own_retry_is_told_by_what_happened_alone() {
    let (connection, client) = connection().await;
    let sends = |send| Origin { send, ..connection.origin };
    let (first, again) = (sends(1), sends(2));
    let connection = Arc::new(connection);
    for (origin, frame) in [(Some(first), "again"), (Some(again), "told already"), (None, "unknown by whom")]
    {
        let (mut state, behind) = room_with(origin);
        state.members.push(Member { connection: connection.clone(), live: true, checked: None });
        state.answer(Answer { by: again, behind, frame: Bytes::from_static(frame.as_bytes()) });
        assert!(state.answers.is_empty(), "{frame}: it has had its turn");
    }
    drop(connection);
    assert_eq!(read_all(client).await, "againunknown by whom");
}
