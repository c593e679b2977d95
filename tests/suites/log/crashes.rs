//! The real persister, killed with -9 in the middle of its work, and a COMMIT of which nobody hears: what Postgres says
//! decides, and nothing is missing and nothing there twice.

use std::time::Duration;

use harness::children::{PATIENCE, eventually, free_port};
use harness::logs::{LEASE, Line, Stage, pool, somebody};
use harness::process::Process;
use harness::proxy::{Proxy, Weather};
use harness::servers::{Database, Servers};
use shared::error::Code;
use shared::id::{EntryId, RoomId};
use shared::stream::{Progress, Work};

/// A persister in a process of its own, with a link of ours between it and the log.
struct Site {
    stage: Stage,
    to_log: Proxy,
    process: Process,
    room: RoomId,
    _servers: Servers,
}

impl Site {
    async fn start() -> Site {
        let (stage, servers) = Stage::with_servers(Database::Shared).await;
        let (to_log, over) = Proxy::before(&stage.log_url).await;
        let mut variables = stage.variables();
        variables.insert("REDIS_URL".to_owned(), over);
        let internal = format!("127.0.0.1:{}", free_port());
        variables.insert("INTERNAL_LISTEN".to_owned(), internal.clone());
        let mut process = Process::start("persister", "persister", &[], variables);
        process.ready(&format!("http://{internal}/readyz")).await;
        let open =
            eventually(PATIENCE, async || stage.log.state(stage.partition).await.ok()?.open.then_some(()));
        open.await.expect("the process opens the log");
        let room = stage.room().await;
        Site { stage, to_log, process, room, _servers: servers }
    }

    async fn says(&self, text: &str) -> Line {
        let line = Line::new(self.room, somebody(), text).named(text);
        self.stage.producer().say(&line).await.expect("the log is open");
        line
    }

    async fn published(&self) -> EntryId {
        self.stage.log.state(self.stage.partition).await.expect("the log answers").watermark
    }

    /// Waits until Postgres has what the log has, and the log knows.
    async fn settles(&self) {
        let settled = eventually(PATIENCE, async || {
            let newest = self.stage.newest().await;
            (self.stage.watermark().await == newest && self.published().await == newest).then_some(())
        });
        assert!(settled.await.is_some(), "stored up to {}", self.stage.watermark().await);
    }

    /// Goes on with a new process, and hears again from a sender who knows nothing of all this.
    async fn goes_on(mut self, unsure: &Line) {
        self.process.restart();
        self.settles().await;
        assert!(self.stage.producer().say(unsure).await.expect("it is known").again);
        self.says("after").await;
        self.settles().await;
        assert_eq!(self.stage.texts(self.room).await, ["before", "during", "after"]);
        self.process.terminate();
        assert!(self.process.ended().await.success());
    }
}

#[tokio::test]
async fn a_persister_that_is_killed_between_its_first_statement_and_its_commit_stored_nothing() {
    let mut site = Site::start().await;
    site.says("before").await;
    site.settles().await;
    let mut wall = site.stage.wall().await;
    let during = site.says("during").await;
    wall.stops_somebody().await;
    site.process.kill9();
    wall.falls().await;

    assert_eq!(site.stage.watermark().await.pseq, 1);
    assert_eq!(site.stage.texts(site.room).await, ["before"]);
    site.goes_on(&during).await;
}

#[tokio::test]
async fn a_persister_that_is_killed_after_its_commit_and_before_the_log_knows_stored_it_once() {
    let mut site = Site::start().await;
    site.says("before").await;
    site.settles().await;
    let mut wall = site.stage.wall().await;
    let during = site.says("during").await;
    wall.stops_somebody().await;
    site.to_log.set(Weather::Silent);
    wall.falls().await;
    let done = eventually(PATIENCE, async || (site.stage.watermark().await.pseq == 2).then_some(()));
    done.await.expect("the batch is committed");
    site.process.kill9();
    // What it had to say to the log is lost with it.
    site.to_log.cut();
    site.to_log.set(Weather::Fair);

    assert_eq!(site.published().await.pseq, 1);
    assert_eq!(site.stage.texts(site.room).await, ["before", "during"]);
    site.goes_on(&during).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_cut_off_is_found_in_the_row() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let (link, over) = Proxy::before(&stage.database_url).await;
    let sessions = pool(&over, Duration::from_secs(5));
    let mut persister = stage.work(&sessions, stage.claim(LEASE).await);
    stage.let_open(&mut persister).await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let published = async || stage.log.state(stage.partition).await.expect("the log answers").watermark.pseq;
    let stored = |upto: u32| {
        let stage = &stage;
        eventually(PATIENCE, async move || (stage.watermark().await.pseq == upto).then_some(()))
    };
    voice.say_all(room, ana, &["one", "two"]).await;

    let mut wall = stage.wall_at_commit().await;
    let cut_off = async {
        wall.stops_somebody().await;
        link.set(Weather::Silent);
        wall.falls().await;
        stored(2).await.expect("the COMMIT takes effect");
        link.cut();
        link.set(Weather::Fair);
    };
    let (turn, ()) = tokio::join!(persister.step(), cut_off);
    assert_eq!(turn.expect_err("its answer is lost").code(), Code::Unavailable);
    assert_eq!(published().await, 0);
    assert_eq!(persister.step().await.expect("it goes on"), Progress::Idle, "the row says that all is done");
    assert_eq!(published().await, 2);
    voice.say_all(room, ana, &["three"]).await;
    stage.store_all(&mut persister).await;
    assert_eq!(stage.texts(room).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_broken_rule_of_ours_is_an_alarm_and_stops_its_own_partition_alone() {
    let mut site = Site::start().await;
    let (stage, elsewhere) = (&site.stage, site.stage.room_elsewhere().await);
    let squatter = Line::new(site.room, somebody(), "who put this here?");
    sqlx::query(
        "insert into hubbub.message (id, no, room, author, epoch, seq, content, digest, nonce, created_at)
         values ($1, 1, $2, $1, 1, 1, 'who put this here?', '', '', now())",
    )
    .bind(squatter.id().0)
    .bind(site.room.0)
    .execute(&stage.pool)
    .await
    .expect("Postgres answers");
    site.says("its place is taken").await;
    let alarm = eventually(PATIENCE, async || {
        let log = site.process.log();
        log.lines().any(|line| line.contains("\"ERROR\"") && line.contains("storing stopped")).then_some(())
    });
    assert!(alarm.await.is_some(), "no alarm among\n{}", site.process.log());
    stage.producer().say(&Line::new(elsewhere, somebody(), "undisturbed")).await.expect("the log is open");
    let stored =
        eventually(PATIENCE, async || (stage.texts(elsewhere).await == ["undisturbed"]).then_some(()));
    stored.await.expect("another partition goes on");
    assert_eq!(stage.watermark().await.pseq, 0, "nothing of the batch is stored");
    let parked: i64 = sqlx::query_scalar("select count(*) from hubbub.dead_letter")
        .fetch_one(&stage.pool)
        .await
        .expect("Postgres answers");
    assert_eq!(parked, 0);
    site.process.terminate();
    assert!(site.process.ended().await.success());
}
