//! Likes: a state that changes once, whoever asks how often and from where.

use std::time::Duration;

use harness::logs::{CAPS, Line, RETAIN, Stage, Voice, refusal, somebody};
use shared::Error;
use shared::error::Code;
use shared::id::{AccountId, MessageId, MessageNo, RoomId};
use shared::stream::Wanted::{Liked, NotLiked};
use shared::stream::{Placed, trim};

async fn a_message(voice: &Voice, room: RoomId) -> (MessageId, MessageNo) {
    let line = Line::new(room, somebody(), "like me");
    let placed = voice.say(&line).await.expect("it is accepted");
    (line.id(), placed.no)
}

fn total(outcome: Result<Placed, Error>) -> i64 {
    outcome.expect("the like counts").total.expect("a like leaves a total behind")
}

/// Code and total of a refused like.
fn refused(outcome: Result<Placed, Error>) -> (Code, Option<i64>) {
    match outcome {
        Err(Error::Refused(refusal)) => (refusal.code, refusal.total),
        other => panic!("refused, not {other:?}"),
    }
}

#[tokio::test]
async fn a_like_counts_once_and_can_be_taken_back_once() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (voice, room, ana, ben) = (stage.producer(), stage.room().await, somebody(), somebody());
    let message = a_message(&voice, room).await;
    for target in [Some(message), None] {
        let id = target.map_or(room.0, |(id, _)| id.0);
        assert_eq!(total(voice.like(room, target, ana, Liked).await), 1);
        assert_eq!(refused(voice.like(room, target, ana, Liked).await), (Code::AlreadyLiked, Some(1)));
        assert_eq!(refused(voice.like(room, target, ben, NotLiked).await), (Code::NotLiked, Some(1)));
        assert_eq!(total(voice.like(room, target, ben, Liked).await), 2);
        assert_eq!(total(voice.like(room, target, ana, NotLiked).await), 1);
        assert_eq!(refused(voice.like(room, target, ana, NotLiked).await), (Code::NotLiked, Some(1)));
        stage.store_all(&mut persister).await;
        assert_eq!(stage.stored_likes(id).await, 1);
    }
    let likes: i64 = sqlx::query_scalar("select likes from hubbub.message where id = $1")
        .bind(message.0.0)
        .fetch_one(&stage.pool)
        .await
        .expect("the message is stored");
    assert_eq!(likes, 1);
}

#[tokio::test]
async fn of_two_tabs_that_like_at_once_one_is_told_that_it_was_liked_already() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (here, there, room) = (stage.producer(), stage.producer(), stage.room().await);
    for _ in 0..20 {
        let (message, ana) = (a_message(&here, room).await, somebody());
        let (one, other) = tokio::join!(
            here.like(room, Some(message), ana, Liked),
            there.like(room, Some(message), ana, Liked)
        );
        let (yes, no) = if one.is_ok() { (one, other) } else { (other, one) };
        assert_eq!(total(yes), 1);
        assert_eq!(refused(no), (Code::AlreadyLiked, Some(1)));
    }
}

#[tokio::test]
async fn a_message_can_be_liked_right_after_it_was_said_without_postgres() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let message = a_message(&stage.producer(), room).await;
    let alone = stage.producer_without_postgres();
    assert_eq!(total(alone.like(room, Some(message), ana, Liked).await), 1);
    assert_eq!(total(alone.like(room, Some(message), somebody(), Liked).await), 2);
    assert_eq!(refused(alone.like(room, Some(message), ana, Liked).await), (Code::AlreadyLiked, Some(2)));
}

#[tokio::test]
async fn likes_go_on_from_the_stored_state_after_the_log_dropped_them() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (voice, room, ana, ben, cleo) =
        (stage.producer(), stage.room().await, somebody(), somebody(), somebody());
    let said = a_message(&voice, room).await;
    let message = Some(said);
    voice.like(room, message, ana, Liked).await.expect("it counts");
    voice.like(room, message, ben, Liked).await.expect("it counts");
    voice.like(room, None, ana, Liked).await.expect("it counts");
    stage.store_all(&mut persister).await;
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    assert_eq!(trim(&hasty, stage.partition).await.expect("the log answers"), 4);

    let away = stage.producer_without_postgres();
    assert_eq!(refusal(away.like(room, message, cleo, Liked).await), Code::Unavailable);
    assert_eq!(refused(voice.like(room, message, ana, Liked).await), (Code::AlreadyLiked, Some(2)));
    assert_eq!(refused(voice.like(room, message, cleo, NotLiked).await), (Code::NotLiked, Some(2)));
    assert_eq!(total(voice.like(room, message, cleo, Liked).await), 3);
    assert_eq!(total(voice.like(room, message, ana, NotLiked).await), 2);
    assert_eq!(refused(voice.like(room, None, ana, Liked).await), (Code::AlreadyLiked, Some(1)));
    stage.store_all(&mut persister).await;
    assert_eq!(stage.stored_likes(said.0.0).await, 2);
}

#[tokio::test]
async fn a_person_whose_like_is_retained_is_remembered_when_others_were_dropped() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (voice, room, ana, ben) = (stage.producer(), stage.room().await, somebody(), somebody());
    let said = a_message(&voice, room).await;
    let message = Some(said);
    voice.like(room, message, ana, Liked).await.expect("it counts");
    stage.store_all(&mut persister).await;
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    trim(&hasty, stage.partition).await.expect("the log answers");

    // Not stored yet, so never dropped: only the log knows of it.
    assert_eq!(total(voice.like(room, message, ben, Liked).await), 2);
    assert_eq!(trim(&hasty, stage.partition).await.expect("the log answers"), 0);
    assert_eq!(refused(voice.like(room, message, ben, Liked).await), (Code::AlreadyLiked, Some(2)));
    assert_eq!(refused(voice.like(room, message, ana, Liked).await), (Code::AlreadyLiked, Some(2)));
    assert_eq!(total(voice.like(room, message, ana, NotLiked).await), 1);
    stage.store_all(&mut persister).await;
    assert_eq!(stage.stored_likes(said.0.0).await, 1);
}

#[tokio::test]
async fn a_deleted_message_can_not_be_liked() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (voice, room, ana) = (stage.producer(), stage.room().await, somebody());
    let message = a_message(&voice, room).await;
    stage.store_all(&mut persister).await;
    sqlx::query("update hubbub.message set deleted_at = now(), content = null where id = $1")
        .bind(message.0.0)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    trim(&hasty, stage.partition).await.expect("the log answers");
    assert_eq!(refusal(voice.like(room, Some(message), ana, Liked).await), Code::NotFound);
}

#[tokio::test]
async fn totals_equal_the_people_who_like_whatever_they_tried() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (voice, room) = (stage.producer(), stage.room().await);
    let said = a_message(&voice, room).await;
    let message = Some(said);
    let people: Vec<AccountId> = (0..5).map(|_| somebody()).collect();
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    let patient = stage.log_with(RETAIN, CAPS).await;
    let mut last = 0;
    for round in 0..40_usize {
        let person = people[(round * 7) % 5];
        let wanted = if (round / 3) % 2 == 0 { Liked } else { NotLiked };
        if let Ok(placed) = voice.like(room, message, person, wanted).await {
            last = placed.total.expect("a like leaves a total behind");
        }
        if round % 8 == 5 {
            stage.store_all(&mut persister).await;
        }
        let log = if round % 8 == 7 { &hasty } else { &patient };
        trim(log, stage.partition).await.expect("the log answers");
    }
    stage.store_all(&mut persister).await;
    assert_eq!(stage.stored_likes(said.0.0).await, last);
}
