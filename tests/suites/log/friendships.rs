//! Friendships on their way through the log and back: a Postgres that came back older learns from it who are friends, and
//! what is replayed changes nothing that came later.

use harness::logs::{Line, Stage, somebody};
use harness::servers::PARTITIONS;
use shared::event::{Event, MessageRead};
use shared::id::{AccountId, EntryId, MessageId, MessageNo, Partition, RoomId};
use shared::store::accounts::{self, Seen};
use shared::store::friendships::{self, Answered, Ask, Asked};
use shared::store::membership;
use shared::store::rooms;
use shared::stream::{Append, Named};
use shared::user::Roles;
use sqlx::Row as _;
use uuid::Uuid;

/// Two people whose room is in the stage's partition.
struct Pair {
    ana: AccountId,
    ben: AccountId,
    room: RoomId,
}

impl Pair {
    async fn of(stage: &Stage) -> Pair {
        let pairs = std::iter::repeat_with(|| (somebody(), somebody()));
        let mut fitting =
            pairs.filter(|(ana, ben)| Partition::of(RoomId::of_pair(*ana, *ben), 16) == stage.partition);
        let (ana, ben) = fitting.next().expect("one of sixteen pairs is in this partition");
        for id in [ana, ben] {
            let name = id.to_string();
            let seen = Seen {
                id,
                issuer: "test",
                username: Some(&name),
                fallback_name: &name,
                full_name: None,
                avatar: None,
                roles: Roles::NONE,
            };
            accounts::see(&stage.pool, &seen).await.expect("Postgres takes an account");
        }
        Pair { ana, ben, room: RoomId::of_pair(ana, ben) }
    }

    async fn ask(&self, stage: &Stage) -> Uuid {
        let ask = Ask { me: self.ana, other: self.ben, id: Uuid::now_v7(), most_open: 10 };
        match friendships::request(&stage.pool, &ask).await.expect("Postgres answers") {
            Asked::Pending(request) => request.id,
            other => panic!("nothing is between the two: {other:?}"),
        }
    }

    async fn become_friends(&self, stage: &Stage) {
        let request = self.ask(stage).await;
        let accepted = friendships::accept(&stage.pool, request, self.ben).await.expect("Postgres answers");
        assert!(matches!(accepted, Answered::Done(_)), "{accepted:?}");
        self.log(stage).await;
    }

    async fn part(&self, stage: &Stage) {
        friendships::end(&stage.pool, self.ben, self.ana).await.expect("Postgres answers");
        self.log(stage).await;
    }

    async fn block(&self, stage: &Stage) {
        let wish = membership::Wish {
            room: self.room,
            person: self.ana,
            by: self.ana,
            became: shared::event::Became::Blocking,
            checked: u64::MAX,
        };
        membership::commit(&stage.pool, &wish).await.expect("Postgres answers");
        self.log(stage).await;
    }

    /// Ana writes to Ben.
    async fn write(&self, stage: &Stage) -> MessageId {
        let line = Line::new(self.room, self.ana, "hello");
        let body = line.body();
        let send = Some(Named::by(self.room, self.ana, &line.nonce, line.text.as_bytes(), PARTITIONS));
        self.append(stage, send, &body).await;
        line.id()
    }

    async fn append(&self, stage: &Stage, send: Option<Named<'_>>, body: &[u8]) {
        let (voice, to) = (stage.producer(), [self.ana, self.ben]);
        let append = Append { to: &to, send, ..voice.plain(Some(self.room), body) };
        voice.producer.append(&append).await.expect("it is accepted");
    }

    async fn unread_of_ben(&self, stage: &Stage) -> i64 {
        sqlx::query_scalar("select unread::bigint from hubbub.member where room = $1 and account = $2")
            .bind(self.room.0)
            .bind(self.ben.0)
            .fetch_one(&stage.pool)
            .await
            .expect("Ben is in the room")
    }

    async fn log(&self, stage: &Stage) {
        stage.producer().producer.log_changes(self.room).await.expect("the log is open");
    }

    async fn state(&self, stage: &Stage) -> String {
        sqlx::query_scalar("select state from hubbub.friendship where $1 in (low, high)")
            .bind(self.ana.0)
            .fetch_one(&stage.pool)
            .await
            .expect("there is the pair")
    }

    /// Friends, blocked, and the room's numbers, as the seat of each has it.
    async fn seats(&self, stage: &Stage) -> (bool, bool, u64, u64) {
        let [ana, ben] = [(self.ana, self.ben), (self.ben, self.ana)].map(async |(me, other)| {
            let seat = rooms::seat(&stage.pool, self.room, me).await.expect("Postgres answers");
            let seat = seat.expect("there is the room");
            assert_eq!(seat.peer, Some(other));
            (seat.is_friend, seat.is_blocked, seat.number, seat.restricting)
        });
        let (ana, ben) = (ana.await, ben.await);
        assert_eq!(ana, ben, "both have the same room");
        ana
    }

    /// What no backup before their first meeting has.
    async fn was_never(&self, stage: &Stage) {
        for statement in [
            "delete from hubbub.friendship where $1 <> low and $2 in (low, high)",
            "delete from hubbub.member where room = $1 and $2 <> room",
            "delete from hubbub.room where id = $1 and $2 <> id",
        ] {
            let run = sqlx::query(statement).bind(self.room.0).bind(self.ana.0);
            run.execute(&stage.pool).await.expect("Postgres answers");
        }
    }
}

#[tokio::test]
async fn a_change_between_two_people_names_both() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let pair = Pair::of(&stage).await;
    pair.become_friends(&stage).await;
    pair.part(&stage).await;
    pair.block(&stage).await;
    let pending = membership::pending(&stage.pool, pair.room).await.expect("Postgres answers");
    assert_eq!(pending.len(), 3);
    let named: Vec<Vec<AccountId>> = pending.into_iter().map(|change| change.to).collect();
    for mut people in named {
        people.sort();
        assert_eq!(people, [pair.ana.min(pair.ben), pair.ana.max(pair.ben)]);
    }
    stage.store_all(&mut persister).await;
}

#[tokio::test]
async fn a_postgres_that_came_back_older_learns_that_a_friendship_ended() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let pair = Pair::of(&stage).await;
    pair.become_friends(&stage).await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.seats(&stage).await, (true, false, 1, 0));
    let copied = stage.watermark().await;
    pair.part(&stage).await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.seats(&stage).await, (false, false, 2, 2));
    for statement in [
        "update hubbub.friendship set state = 'accepted', number = 1 where $1 <> low and $2 in (low, high)",
        "update hubbub.member set number = least(number, 1) where room = $1 and $2 <> room",
        "update hubbub.room set number = 1, restricting = 0, stored_number = 1 where id = $1 and $2 <> id",
    ] {
        let run = sqlx::query(statement).bind(pair.room.0).bind(pair.ana.0);
        run.execute(&stage.pool).await.expect("Postgres answers");
    }
    assert_eq!(pair.seats(&stage).await, (true, false, 1, 0), "the copy knows nothing of it");
    stage.rewind_postgres(copied).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.seats(&stage).await, (false, false, 2, 2));
}

#[tokio::test]
async fn a_postgres_from_before_two_people_met_learns_all_of_it() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (friends, foes) = (Pair::of(&stage).await, Pair::of(&stage).await);
    let begin = stage.watermark().await;
    friends.become_friends(&stage).await;
    foes.become_friends(&stage).await;
    foes.block(&stage).await;
    stage.store_all(&mut persister).await;
    for pair in [&friends, &foes] {
        pair.was_never(&stage).await;
    }
    stage.rewind_postgres(begin).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(friends.seats(&stage).await, (true, false, 1, 0));
    assert_eq!(foes.seats(&stage).await, (false, true, 2, 2));
    let members = sqlx::query("select member_count from hubbub.room where id = $1")
        .bind(friends.room.0)
        .fetch_one(&stage.pool)
        .await
        .expect("there is the room");
    assert_eq!(members.get::<i32, _>(0), 2);
}

#[tokio::test]
async fn a_postgres_from_before_two_people_met_counts_what_they_wrote() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let pair = Pair::of(&stage).await;
    let begin = stage.watermark().await;
    pair.become_friends(&stage).await;
    let (first, _second) = (pair.write(&stage).await, pair.write(&stage).await);
    stage.store_all(&mut persister).await;
    assert_eq!(pair.unread_of_ben(&stage).await, 2);
    sqlx::query("delete from hubbub.message where room = $1")
        .bind(pair.room.0)
        .execute(&stage.pool)
        .await
        .expect("Postgres answers");
    pair.was_never(&stage).await;
    stage.rewind_postgres(begin).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.unread_of_ben(&stage).await, 2);
    let read = Event::MessageRead(MessageRead { id: first, no: MessageNo(0), by: pair.ben });
    pair.append(&stage, None, &read.to_body()).await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.unread_of_ben(&stage).await, 1);
}

#[tokio::test]
async fn what_is_replayed_ends_no_request_that_came_later() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let pair = Pair::of(&stage).await;
    let begin: EntryId = stage.watermark().await;
    pair.become_friends(&stage).await;
    pair.part(&stage).await;
    stage.store_all(&mut persister).await;
    pair.ask(&stage).await;
    assert_eq!(pair.state(&stage).await, "requested");
    stage.rewind_postgres(begin).await;
    let mut persister = stage.persister().await;
    stage.store_all(&mut persister).await;
    assert_eq!(pair.state(&stage).await, "requested");
    assert_eq!(pair.seats(&stage).await, (false, false, 2, 2));
}
