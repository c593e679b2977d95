//! Membership changes on their way from Postgres into the log and back, edits and deletions on theirs into rows: whatever
//! comes twice, late or in the wrong order changes nothing.

use std::time::Duration;

use futures_util::future::join_all;
use harness::logs::{CAPS, Line, RETAIN, Stage, Voice, place, refusal, somebody};
use harness::servers::PARTITIONS;
use shared::error::Code;
use shared::event::{Became, Envelope, Event, MembershipChanged, MessageDeleted, MessageEdited};
use shared::id::{AccountId, EntryId, MessageId, MessageNo, Nonce, RoomId};
use shared::store::membership::{self, Committed, Pending, Wish};
use shared::stream::{Append, Caps, Change, Guard, Named, Placed, Reading, Wanted, trim};
use sqlx::Row as _;
use uuid::Uuid;

async fn commit(stage: &Stage, room: RoomId, person: AccountId, became: Became) {
    let wish = Wish { room, person, by: person, became, checked: u64::MAX };
    let committed = membership::commit(&stage.pool, &wish).await.expect("Postgres answers");
    assert_eq!(committed, Committed::Done);
}

async fn outbox(stage: &Stage, room: RoomId) -> Vec<u64> {
    let pending = membership::pending(&stage.pool, room).await.expect("Postgres answers");
    pending.into_iter().map(|change| change.number).collect()
}

/// Whether a person is in, by the row and by the room's count, and what the room's three numbers are.
async fn stands(stage: &Stage, room: RoomId, person: AccountId) -> (bool, i32, [i64; 3]) {
    let row = sqlx::query(
        "select coalesce(m.is_active, false) as is_in, r.member_count, r.number, r.restricting, r.stored_number
         from hubbub.room r left join hubbub.member m on m.room = r.id and m.account = $2 where r.id = $1",
    )
    .bind(room.0)
    .bind(person.0)
    .fetch_one(&stage.pool)
    .await
    .expect("there is the room");
    (
        row.get("is_in"),
        row.get("member_count"),
        [row.get("number"), row.get("restricting"), row.get("stored_number")],
    )
}

#[tokio::test]
async fn a_change_leaves_the_outbox_with_the_rows_of_its_entry_and_not_before() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    commit(&stage, room, ana, Became::Member).await;
    commit(&stage, room, ana, Became::Gone).await;
    assert_eq!(outbox(&stage, room).await, [1, 2]);
    let producer = stage.producer().producer;
    producer.log_changes(room).await.expect("the log is open");
    assert_eq!(outbox(&stage, room).await, [1, 2], "the log could still lose them");
    let before = stage.newest().await;
    producer.log_changes(room).await.expect("again is no change");
    assert_eq!(stage.newest().await, before);
    stage.store_all(&mut persister).await;
    assert_eq!(outbox(&stage, room).await, [0_u64; 0]);
    assert_eq!(stands(&stage, room, ana).await, (false, 0, [2, 2, 2]));
}

async fn log_one(voice: &Voice, change: &Pending) -> Result<Placed, shared::Error> {
    let Pending { room, number, restricting, to, body } = change;
    let nonce = Nonce::of_change(*number);
    let server = AccountId(Uuid::nil());
    let send = Some(Named::by(*room, server, &nonce, body.as_bytes(), PARTITIONS));
    let change = Some(Change { number: *number, restricting: *restricting });
    let append = Append { change, send, to, ..voice.plain(Some(*room), body.as_bytes()) };
    voice.producer.append(&append).await
}

#[tokio::test]
async fn changes_that_arrive_in_the_wrong_order_are_taken_in_the_right_one() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    for became in [Became::Member, Became::Banned, Became::Unbanned, Became::Member] {
        commit(&stage, room, ana, became).await;
    }
    let pending = membership::pending(&stage.pool, room).await.expect("Postgres answers");
    // Four nodes, each with one of them, the last one first.
    let nodes: Vec<Voice> = pending.iter().map(|_| stage.producer()).collect();
    let logged = pending.iter().zip(&nodes).rev().map(|(change, node)| log_one(node, change));
    for logged in join_all(logged).await {
        logged.expect("each waits for the one before it");
    }
    let mut cursor = stage.log.cursor(stage.partition, EntryId::default());
    let entries = cursor.read(Reading::Now, 10).await.expect("the log answers");
    let number = |entry: &Envelope| match entry.event() {
        Ok(Event::MembershipChanged(change)) => change.number,
        other => panic!("a change, not {other:?}"),
    };
    assert_eq!(entries.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    stage.store_all(&mut persister).await;
    assert_eq!(outbox(&stage, room).await, [0_u64; 0]);
    assert_eq!(stands(&stage, room, ana).await, (true, 1, [4, 2, 4]));
}

#[tokio::test]
async fn a_change_that_the_log_lost_is_logged_again_in_the_next_epoch() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, ben) = (stage.room().await, somebody(), somebody());
    commit(&stage, room, ana, Became::Member).await;
    stage.producer().producer.log_changes(room).await.expect("the log is open");
    stage.store_all(&mut persister).await;
    commit(&stage, room, ana, Became::Banned).await;
    stage.reopen(&mut persister).await;
    // The room's numbers are seeded with what was stored of the log, so the ban is not taken for logged.
    let producer = stage.producer().producer;
    producer.log_changes(room).await.expect("the log is open");
    let (_, head) = stage.log.head(room).await.expect("the log answers");
    let head = head.expect("the room has a head");
    assert_eq!((head.number, head.restricting), (2, 2));
    let line = Line::new(room, ben, "checked before the ban");
    let body = line.body();
    let send = Some(Named::by(room, ben, &line.nonce, b"", PARTITIONS));
    let voice = stage.producer();
    let stale = Append { checked: Some(1), send, ..voice.plain(Some(room), &body) };
    assert_eq!(refusal(producer.append(&stale).await), Code::Forbidden);
    stage.store_all(&mut persister).await;
    assert_eq!(stands(&stage, room, ana).await, (false, 0, [2, 2, 2]));
}

#[tokio::test]
async fn a_postgres_that_came_back_older_learns_who_is_in_from_the_log() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, ben) = (stage.room().await, somebody(), somebody());
    commit(&stage, room, ana, Became::Member).await;
    commit(&stage, room, ben, Became::Member).await;
    stage.producer().producer.log_changes(room).await.expect("the log is open");
    stage.store_all(&mut persister).await;
    let copied = stage.watermark().await;
    commit(&stage, room, ana, Became::Gone).await;
    stage.producer().producer.log_changes(room).await.expect("the log is open");
    stage.store_all(&mut persister).await;
    // The copy knows neither the removal nor its number.
    for statement in [
        "update hubbub.member set is_active = true, number = 1, left_at = null where room = $1 and account = $2",
        "update hubbub.room set number = 2, restricting = 0, stored_number = 2, member_count = 2 where id = $1 and $2 <> id",
    ] {
        sqlx::query(statement).bind(room.0).bind(ana.0).execute(&stage.pool).await.expect("Postgres answers");
    }
    stage.rewind_postgres(copied).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(stands(&stage, room, ana).await, (false, 1, [3, 3, 3]));
    assert_eq!(stands(&stage, room, ben).await, (true, 1, [3, 3, 3]));
}

#[tokio::test]
async fn a_full_backlog_takes_no_message_and_every_restriction() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    commit(&stage, room, ana, Became::Member).await;
    let caps = Caps { entries: 1, ..CAPS };
    let full = stage.producer_to(stage.log_with(RETAIN, caps).await);
    full.producer.log_changes(room).await.expect("the log is open");
    assert_eq!(refusal(full.say(&Line::new(room, ana, "no")).await), Code::Overloaded);
    commit(&stage, room, ana, Became::Banned).await;
    full.producer.log_changes(room).await.expect("a restriction is never refused for load");
    stage.store_all(&mut persister).await;
    assert_eq!(stands(&stage, room, ana).await, (false, 0, [2, 2, 2]));
}

/// A said message: its id and number.
async fn said(stage: &Stage, line: &Line) -> (MessageId, MessageNo, Placed) {
    let placed = stage.producer().say(line).await.expect("it is accepted");
    (line.id(), placed.no, placed)
}

async fn amend(
    stage: &Stage,
    room: RoomId,
    event: &Event,
    guard: Option<Guard>,
) -> Result<Placed, shared::Error> {
    let (voice, body) = (stage.producer(), event.to_body());
    voice.producer.append(&Append { guard, ..voice.plain(Some(room), &body) }).await
}

#[tokio::test]
async fn nothing_comes_after_a_deletion_neither_in_the_log_nor_in_the_row() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let (id, no, _) = said(&stage, &Line::new(room, ana, "the secret")).await;
    let edit = Event::MessageEdited(MessageEdited { id, no, by: ana, text: "the secret again".into() });
    let deletion = Event::MessageDeleted(MessageDeleted { id, no, by: ana });
    let guard = |wanted| Some(Guard { target: id.0, person: ana, wanted });
    amend(&stage, room, &deletion, guard(Wanted::Deleted)).await.expect("it is there");
    for (event, wanted) in [(&edit, Wanted::Edited), (&deletion, Wanted::Deleted)] {
        assert_eq!(refusal(amend(&stage, room, event, guard(wanted)).await), Code::NotFound);
    }
    // Even if one got past the guard, in the same batch or in a later one.
    amend(&stage, room, &edit, None).await.expect("the log takes it");
    stage.store_all(&mut persister).await;
    amend(&stage, room, &edit, None).await.expect("the log takes it");
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["text"], "the kind, where there is no text");
    // And the log asks Postgres once it has forgotten.
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    while trim(&hasty, stage.partition).await.expect("the log answers") > 0 {}
    assert_eq!(refusal(amend(&stage, room, &edit, guard(Wanted::Edited)).await), Code::NotFound);
}

#[tokio::test]
async fn a_retry_of_an_edited_message_is_known_after_its_entries_are_gone() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let line = Line::new(room, ana, "frist").named("one name");
    let (id, no, first) = said(&stage, &line).await;
    let edit = Event::MessageEdited(MessageEdited { id, no, by: ana, text: "first".into() });
    let guard = Guard { target: id.0, person: ana, wanted: Wanted::Edited };
    let edited = amend(&stage, room, &edit, Some(guard)).await.expect("it is there");
    stage.store_all(&mut persister).await;
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    while trim(&hasty, stage.partition).await.expect("the log answers") > 0 {}
    let again = stage.producer().say(&line).await.expect("a retry");
    assert_eq!((again.again, again.no, again.position), (true, no, first.position));
    let as_edited = Line { text: "first".into(), ..line };
    assert_eq!(
        refusal(stage.producer().say(&as_edited).await),
        Code::NonceReused,
        "it was sent with another text"
    );
    assert_eq!(stage.texts(room).await, ["first"]);
    let changed: (i32, i64) =
        sqlx::query_as("select changed_epoch, changed_seq from hubbub.message where id = $1")
            .bind(id.0)
            .fetch_one(&stage.pool)
            .await
            .expect("a row");
    assert_eq!(u64::try_from(changed.1).expect("a number"), edited.position.seq);
    assert!(place(&edited) > place(&first));
}

#[tokio::test]
async fn a_replayed_batch_of_changes_and_edits_changes_nothing() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    let begin = stage.watermark().await;
    for became in [Became::Member, Became::Gone, Became::Member] {
        commit(&stage, room, ana, became).await;
    }
    stage.producer().producer.log_changes(room).await.expect("the log is open");
    let (id, no, _) = said(&stage, &Line::new(room, ana, "one")).await;
    for text in ["two", "three"] {
        let edit = Event::MessageEdited(MessageEdited { id, no, by: ana, text: text.into() });
        amend(&stage, room, &edit, None).await.expect("the log takes it");
    }
    stage.store_all(&mut persister).await;
    let before = (stands(&stage, room, ana).await, stage.texts(room).await);
    assert_eq!(before, ((true, 1, [3, 2, 3]), vec!["three".to_owned()]));
    stage.rewind_postgres(begin).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!((stands(&stage, room, ana).await, stage.texts(room).await), before);
}

#[tokio::test]
async fn a_number_names_one_change_for_ever() {
    let stage = Stage::start().await;
    stage.open().await;
    let (room, ana) = (stage.room().await, somebody());
    commit(&stage, room, ana, Became::Member).await;
    let producer = stage.producer().producer;
    producer.log_changes(room).await.expect("the log is open");
    let other = MembershipChanged { number: 1, person: ana, by: ana, became: Became::Admin };
    let body = String::from_utf8(Event::MembershipChanged(other).to_body()).expect("JSON is text");
    sqlx::query("update hubbub.outbox set body = $2 where room = $1")
        .bind(room.0)
        .bind(body)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    let refused = producer.log_changes(room).await.expect_err("another change under the same number");
    assert_eq!(refused.code(), Code::Internal, "that would be a bug of ours, and is said as one");
}
