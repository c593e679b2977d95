//! Postgres as the services and the operators see it: set up once, read in one snapshot, reported on by the queries of
//! the client documents.

use chrono::{DateTime, TimeDelta, Utc};
use harness::servers::Servers;
use shared::id::{AccountId, MessageNo, Partition, Position, RoomId};
use shared::room::RoomKind;
use shared::store::live::{self, Sighting, Window};
use shared::store::{self, SchemaError, messages, rooms};
use sqlx::{Executor as _, PgConnection, PgPool};
use std::time::Duration;
use uuid::Uuid;

const PARTITIONS: u16 = 16;

/// A migrated database, and what keeps it running.
struct Postgres {
    pool: PgPool,
    _servers: Servers,
}

impl Postgres {
    async fn start() -> Self {
        let servers = Servers::start().await;
        let pool = pool(&servers);
        store::migrate(&pool, PARTITIONS).await.expect("an empty database can be migrated");
        Self { pool, _servers: servers }
    }

    /// A live session that is open now, with its room.
    async fn session(&self, number: u32) -> live::LiveSession {
        let starts_at = Utc::now() - TimeDelta::hours(1) + TimeDelta::seconds(i64::from(number));
        live::session_for_window(&self.pool, &window(starts_at)).await.expect("a session")
    }

    async fn person(&self, name: &str) -> AccountId {
        let id = AccountId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()));
        sqlx::query("insert into hubbub.account (id, issuer, username) values ($1, 'test', $2)")
            .bind(id.0)
            .bind(name)
            .execute(&self.pool)
            .await
            .expect("a person");
        id
    }

    /// As the persister stores it: epoch, seq and text of one message.
    async fn store(&self, room: RoomId, author: AccountId, (epoch, seq): (i32, i64), text: &str) {
        sqlx::query(
            "insert into hubbub.message (id, no, room, author, epoch, seq, content, digest, nonce, author_roles, created_at)
             values (gen_random_uuid(), $5::bigint * 1000 + $6, $1, $2, $3, $4, $7, sha256('x'), 'n', '{host}', now())",
        )
        .bind(room.0)
        .bind(author.0)
        .bind(epoch)
        .bind(seq)
        .bind(epoch)
        .bind(seq)
        .bind(text)
        .execute(&self.pool)
        .await
        .expect("a message");
    }

    async fn run(&self, statement: &'static str) {
        self.pool.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

fn pool(servers: &Servers) -> PgPool {
    store::connect(&servers.database_url, 12, "suite", Duration::from_secs(5))
        .expect("the harness's address is good")
}

fn window(starts_at: DateTime<Utc>) -> Window<'static> {
    Window {
        room: RoomId::of_live_session(starts_at.timestamp()),
        name: "Draw Chat - January 01, 2024",
        starts_at: DateTime::from_timestamp(starts_at.timestamp(), 0).expect("a time of today"),
        ends_at: DateTime::from_timestamp(starts_at.timestamp() + 7200, 0).expect("a time of today"),
    }
}

fn at(epoch: u32, seq: u64) -> Position {
    Position { epoch, seq }
}

fn texts(found: &[messages::StoredMessage]) -> Vec<&str> {
    found.iter().map(|stored| stored.message.text.as_deref().unwrap_or("(gone)")).collect()
}

#[tokio::test]
async fn a_database_is_set_up_once_and_keeps_its_partitions() {
    let servers = Servers::start().await;
    let pool = pool(&servers);
    pool.execute("drop schema if exists hubbub cascade").await.expect("an empty database");
    assert!(matches!(store::check(&pool, PARTITIONS).await, Err(SchemaError::Absent)));

    let (one, other) = tokio::join!(store::migrate(&pool, PARTITIONS), store::migrate(&pool, PARTITIONS));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    store::migrate(&pool, PARTITIONS).await.expect("again is nothing");
    store::check(&pool, PARTITIONS).await.expect("ready");
    let rows: i64 =
        sqlx::query_scalar("select count(*) from hubbub.partition").fetch_one(&pool).await.expect("rows");
    assert_eq!(rows, i64::from(PARTITIONS));

    for refused in [store::check(&pool, 8).await, store::migrate(&pool, 8).await] {
        let text = refused.expect_err("another number").to_string();
        assert!(text.contains("PARTITIONS is 8") && text.contains("set PARTITIONS=16"), "{text}");
    }
    assert!(matches!(store::migrate(&pool, 0).await, Err(SchemaError::PartitionsRange(0))));

    let newest = "from hubbub.migration where version = (select max(version) from hubbub.migration)";
    let newer = "insert into hubbub.migration select version + 1, 'later', now(), true, checksum, 0 ";
    for (change, fits) in [(format!("{newer}{newest}"), true), (format!("delete {newest}"), true)] {
        pool.execute(sqlx::AssertSqlSafe(change)).await.expect("the record of a newer release");
        assert_eq!(store::check(&pool, PARTITIONS).await.is_ok(), fits);
    }
    pool.execute(sqlx::AssertSqlSafe(format!("delete {newest}")))
        .await
        .expect("the record of an older release");
    let older = store::check(&pool, PARTITIONS).await.expect_err("an older schema").to_string();
    assert!(older.contains("run `api migrate`"), "{older}");
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_being_repeated() {
    let error =
        store::connect("mysql://root:hunter2@x", 1, "suite", Duration::from_secs(1)).expect_err("no address");
    assert!(error.to_string().contains("DATABASE_URL") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn history_and_replay_show_each_message_once_and_as_it_stands() {
    let postgres = Postgres::start().await;
    let ana = postgres.person("ana").await;
    let room = postgres.session(0).await.room;
    let partition = Partition::of(room, PARTITIONS);
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three"), (5, "five")] {
        postgres.store(room, ana, (0, seq), text).await;
    }
    postgres.store(room, ana, (1, 6), "six").await;
    postgres.run("update hubbub.message set content = 'two!', edited_at = now(), changed_epoch = 1, changed_seq = 7 where seq = 2").await;
    postgres
        .run("update hubbub.message set deleted_at = now(), changed_epoch = 0, changed_seq = 4 where seq = 3")
        .await;
    postgres.run("update hubbub.room set last_epoch = 1, last_seq = 7, number = 3, restricting = 2, stored_number = 1 where kind = 'live'").await;
    postgres.run("update hubbub.partition set epoch = 1, watermark = 4294967295").await;
    let pool = &postgres.pool;

    let page = messages::page(pool, room, partition, None, 3).await.expect("a page");
    assert_eq!(texts(&page.rows), ["six", "five", "(gone)"]);
    assert_eq!((page.epoch, page.watermark, page.last), (1, u32::MAX, at(1, 7)));
    assert_eq!((page.number, page.restricting, page.stored_number), (3, 2, 1));
    assert_eq!(page.rows[0].message.author.username, "ana");
    assert_eq!(page.rows[0].message.author.roles.to_names(), ["host"]);
    let older = messages::page(pool, room, partition, Some(at(0, 3)), 50).await.expect("a page");
    assert_eq!(texts(&older.rows), ["two!", "one"]);

    for (after, missed) in [
        (
            at(0, 0),
            vec![
                ("one", at(0, 1)),
                ("two!", at(0, 2)),
                ("(gone)", at(0, 3)),
                ("five", at(0, 5)),
                ("six", at(1, 6)),
            ],
        ),
        (at(0, 3), vec![("(gone)", at(0, 4)), ("five", at(0, 5)), ("six", at(1, 6)), ("two!", at(1, 7))]),
        (at(0, 5), vec![("six", at(1, 6)), ("two!", at(1, 7))]),
        (at(1, 7), vec![]),
    ] {
        let found = messages::after(pool, room, partition, after, 100).await.expect("a replay");
        let places: Vec<_> = texts(&found.rows)
            .into_iter()
            .zip(found.rows.iter().map(|stored| stored.place_after(after)))
            .collect();
        assert_eq!(places, missed, "after {after}");
    }
    let first_two = messages::after(pool, room, partition, at(0, 3), 2).await.expect("a replay");
    assert_eq!(texts(&first_two.rows), ["(gone)", "five"]);
    assert_eq!(messages::last_seq_up_to(pool, room, 0).await.expect("a seq"), 5);
    assert_eq!(messages::last_seq_up_to(pool, room, 1).await.expect("a seq"), 7);

    let counts = messages::counts(pool, room, partition).await.expect("counts").rows;
    assert_eq!((counts.total, counts.last_hour), (4, 4));
    let six =
        messages::by_no(pool, MessageNo(1006), partition).await.expect("an answer").rows.expect("stored");
    let same = messages::by_id(pool, six.message.id, partition).await.expect("an answer");
    assert_eq!((same.rows.as_ref(), same.last), (Some(&six), at(1, 7)));
    assert_eq!(messages::by_no(pool, MessageNo(4), partition).await.expect("an answer").rows, None);

    let empty = RoomId(Uuid::nil());
    let nothing =
        messages::page(pool, empty, Partition::of(empty, PARTITIONS), None, 5).await.expect("a page");
    assert_eq!((nothing.rows.len(), nothing.last, nothing.epoch), (0, Position::default(), 1));
}

#[tokio::test]
async fn sessions_are_numbered_from_one_without_holes_whoever_makes_them() {
    let postgres = Postgres::start().await;
    let (pool, base) = (&postgres.pool, Utc::now());
    let asked: Vec<_> = (0..30).map(|n| window(base + TimeDelta::days(n % 3))).collect();
    let made =
        futures_util::future::join_all(asked.iter().map(|window| live::session_for_window(pool, window)))
            .await;
    for (session, asked) in made.into_iter().zip(&asked) {
        let session = session.expect("a session");
        assert_eq!((session.room, session.starts_at), (asked.room, asked.starts_at));
        let room = rooms::by_id(pool, session.room).await.expect("an answer").expect("its room");
        assert_eq!((room.kind, room.number), (RoomKind::Live, 0));
    }
    let ids: Vec<i64> = sqlx::query_scalar("select id from hubbub.live_session order by id")
        .fetch_all(pool)
        .await
        .expect("ids");
    assert_eq!(ids, [1, 2, 3]);

    let longer = Window { ends_at: asked[0].ends_at + TimeDelta::hours(1), ..asked[0] };
    let session = live::session_for_window(pool, &longer).await.expect("a session");
    assert_eq!(session.ends_at, longer.ends_at);
    assert_eq!(live::by_id(pool, session.id).await.expect("an answer").as_ref(), Some(&session));
    assert_eq!(live::by_room(pool, session.room).await.expect("an answer"), Some(session.clone()));
    assert_eq!(live::by_id(pool, 99).await.expect("an answer"), None);
    assert_eq!(
        live::current(pool, session.ends_at - TimeDelta::seconds(1)).await.expect("an answer"),
        Some(session.clone())
    );
    assert_eq!(live::current(pool, session.ends_at).await.expect("an answer"), None);
    let seat = rooms::seat(pool, session.room, AccountId(Uuid::nil()))
        .await
        .expect("an answer")
        .expect("the room is there");
    assert_eq!((seat.kind, seat.is_active, seat.member), (RoomKind::Live, true, None));
}

#[tokio::test]
async fn the_latest_sighting_of_a_viewer_wins_however_often_it_is_replayed() {
    let postgres = Postgres::start().await;
    let (ana, ben) = (postgres.person("ana").await, postgres.person("ben").await);
    let room = postgres.session(0).await.room;
    let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).expect("now");
    let seen = |person, ago: i64, holds: i64| {
        let seen_at = now - TimeDelta::seconds(ago);
        Sighting { room, person, seen_at, counted_until: seen_at + TimeDelta::seconds(holds) }
    };
    let active = "select count(*) from live_chat_viewers where is_active = true";

    let batch = [seen(ana, 20, 300), seen(ben, 20, 45), seen(ana, 30, 45)];
    for _ in 0..2 {
        live::see(&postgres.pool, &batch).await.expect("stored");
        assert_eq!(postgres.count(active).await, 2);
    }
    live::see(&postgres.pool, &[seen(ben, 5, 0)]).await.expect("ben has left");
    assert_eq!(postgres.count(active).await, 1);
    live::see(&postgres.pool, &batch).await.expect("a replay");
    assert_eq!(postgres.count(active).await, 1);
    live::see(&postgres.pool, &[seen(ana, 0, -1), seen(ben, 0, 45)]).await.expect("and is back");
    assert_eq!(postgres.count(active).await, 1);
    let first: DateTime<Utc> = sqlx::query_scalar("select first_seen from hubbub.viewer where account = $1")
        .bind(ana.0)
        .fetch_one(&postgres.pool)
        .await
        .expect("a row");
    assert_eq!(first, now - TimeDelta::seconds(30));
    live::see(&postgres.pool, &[]).await.expect("nobody is fine");
}

/// The monitoring queries of the live-chat documents, letter for letter, and one look at every other table they define.
const MONITORING: [&str; 3] = [
    "SELECT COUNT(*) FROM live_chat_viewers WHERE is_active = true",
    "SELECT COUNT(*) FROM live_chat_messages WHERE created_at > NOW() - INTERVAL '1 hour'",
    "SELECT total_likes FROM live_chat_sessions WHERE is_active = true",
];

const TABLES: [&str; 11] = [
    "select count(*) from (select id, name, start_time, end_time, is_active, total_likes from live_chat_sessions) t",
    "select count(*) from (select id, session_id, user_id, message, message_type, likes, created_at from live_chat_messages) t",
    "select count(*) from (select id, session_id, message_id, user_id, created_at from live_chat_likes) t",
    "select count(*) from (select id, name, room_type, description, avatar_url, created_by, created_at, updated_at, is_active from chat_rooms) t",
    "select count(*) from (select id, room_id, user_id, joined_at, last_read_at, is_admin, is_active from chat_room_members) t",
    "select count(*) from (select id, room_id, sender_id, message_type, content, media_url, media_filename, media_size, media_mime_type, \
     reply_to_id, forwarded_from_id, is_edited, edited_at, is_deleted, deleted_at, created_at from chat_messages) t",
    "select count(*) from (select id, message_id, user_id, read_at from message_read_receipts) t",
    "select count(*) from (select message_id, sender_id, receiver_id, content, status, is_deleted, created_at, updated_at, read_at from message) t",
    "select count(*) from (select id, name, description, created_at, is_active from chat_room) t",
    "select count(*) from (select id, room_id, user_id, message, message_type, created_at, is_edited, edited_at from chat_message) t",
    "select count(*) from (select id, room_id, user_id, joined_at, last_active, is_online from chat_participant) t",
];

/// What migrations/README.md grants, to roles that exist within the transaction only: roles belong to the whole server.
const ROLES: &str = "
    create role suite_run; create role suite_watch;
    grant usage on schema hubbub to suite_run;
    grant select, insert, update, delete on all tables in schema hubbub to suite_run;
    revoke insert, update, delete on hubbub.migration from suite_run;
    grant usage on schema public to suite_watch;
    grant select on all tables in schema public to suite_watch;";

async fn refusal_of(connection: &mut PgConnection, statement: &'static str) -> Option<String> {
    connection.execute("savepoint before").await.expect("a savepoint");
    let error = connection.execute(statement).await.err()?;
    connection.execute("rollback to before").await.expect("back to the savepoint");
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

#[tokio::test]
async fn s40_a_reporting_role_runs_the_documents_queries_and_nothing_else() {
    let postgres = Postgres::start().await;
    let ana = postgres.person("ana").await;
    let session = postgres.session(0).await;
    postgres.session(1).await;
    postgres.run("delete from hubbub.live_session where id = 2").await;
    for seq in 1..=3 {
        postgres.store(session.room, ana, (0, seq), "hi").await;
    }
    postgres.run("update hubbub.message set deleted_at = now() where seq = 3").await;
    postgres.run("update hubbub.message set created_at = now() - interval '61 minutes' where seq = 1").await;
    postgres.run("update hubbub.live_session set total_likes = 12").await;
    let now = Utc::now();
    let sighting = Sighting {
        room: session.room,
        person: ana,
        seen_at: now,
        counted_until: now + TimeDelta::seconds(45),
    };
    live::see(&postgres.pool, &[sighting]).await.expect("stored");

    let mut transaction = store::begin(&postgres.pool).await.expect("a transaction");
    transaction.execute(ROLES).await.expect("the grants of the README");
    transaction.execute("set local role suite_watch").await.expect("the role");
    let mut found = Vec::new();
    for query in MONITORING {
        found.push(sqlx::query_scalar::<_, i64>(query).fetch_one(&mut *transaction).await.expect(query));
    }
    assert_eq!(found, [1, 1, 12]);
    for query in TABLES {
        sqlx::query_scalar::<_, i64>(query).fetch_one(&mut *transaction).await.expect(query);
    }
    for statement in
        ["select * from hubbub.message", "delete from public.chat_room", "create table public.mine ()"]
    {
        assert_eq!(refusal_of(&mut transaction, statement).await.as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn s40_the_services_role_writes_rows_and_changes_no_table() {
    let postgres = Postgres::start().await;
    let mut transaction = store::begin(&postgres.pool).await.expect("a transaction");
    transaction.execute(ROLES).await.expect("the grants of the README");
    transaction.execute("set local role suite_run").await.expect("the role");
    let insert =
        "insert into hubbub.account (id, issuer, username) values (gen_random_uuid(), 'test', 'ana')";
    assert_eq!(refusal_of(&mut transaction, insert).await, None);
    for statement in [
        "create table hubbub.mine ()",
        "create schema mine",
        "alter table hubbub.message add column mine text",
        "drop table hubbub.reaction",
        "truncate hubbub.message",
        "update hubbub.migration set success = true",
    ] {
        assert_eq!(refusal_of(&mut transaction, statement).await.as_deref(), Some("42501"), "{statement}");
    }
}
