//! Partitions of one owner that have something to store at the same time: one transaction, in which each keeps its own fence.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::logs::{LEASE, Stage, pool, somebody};
use harness::proxy::Proxy;
use harness::servers::Database;
use persister::{GroupCommit, Persist, PostgresOffice};
use shared::id::{BootId, EntryId, Partition, RoomId};
use shared::store::partitions::Hold;
use shared::stream::{Office as _, Progress, Work as _};
use sqlx::PgPool;

use super::poison::plant_trouble;

const PARTITIONS: std::ops::Range<u16> = 3..7;
/// On a busy machine some partition may come too late for the others of a round, but not in each of so many.
const ROUNDS: usize = 20;

/// An owner of four partitions with a room in each.
struct Owner {
    stages: Vec<Stage>,
    /// What it was given, with the places at which the partitions were opened.
    holds: Vec<Hold>,
    works: Vec<Persist>,
    rooms: Vec<RoomId>,
}

impl Owner {
    async fn on(stage: &Stage) -> Owner {
        Owner::through(stage, &stage.pool).await
    }

    /// An owner with sessions of its own.
    async fn through(stage: &Stage, sessions: &PgPool) -> Owner {
        let stages: Vec<Stage> = PARTITIONS.map(|number| stage.at(number)).collect();
        let office = PostgresOffice::new(stage.log.clone(), sessions.clone(), LEASE);
        let mut holds = take_all(stage, &office).await;
        let mut works: Vec<Persist> = holds.iter().map(|hold| office.begin(*hold)).collect();
        let mut rooms = Vec::new();
        for ((stage, work), hold) in stages.iter().zip(&mut works).zip(&mut holds) {
            stage.let_open(work).await;
            hold.watermark = stage.watermark().await;
            rooms.push(stage.room().await);
        }
        Owner { stages, holds, works, rooms }
    }

    /// Lets the same owner go on from what it was given, as if it had not heard of anything since.
    fn forgets_its_places(&mut self) {
        let (log, pool) = (self.stages[0].log.clone(), self.stages[0].pool.clone());
        let office = PostgresOffice::new(log, pool, LEASE);
        self.works = self.holds.iter().map(|hold| office.begin(*hold)).collect();
    }

    async fn says_everywhere(&self, text: &str) {
        for index in 0..self.stages.len() {
            self.says(index, text).await;
        }
    }

    /// Takes turns, failed ones too, until this text is stored in each of these.
    async fn stores(&mut self, indices: &[usize], text: &str) {
        let Owner { stages, works, rooms, .. } = self;
        let stored = eventually(PATIENCE, async || {
            for index in indices {
                stages[*index].texts(rooms[*index]).await.contains(&text.to_owned()).then_some(())?;
            }
            Some(())
        });
        let turns = join_all(works.iter_mut().map(async |work| {
            loop {
                let _ = work.step().await;
            }
        }));
        tokio::select! {
            stored = stored => stored.expect("it is stored"),
            _ = turns => {}
        }
    }

    async fn says(&self, index: usize, text: &str) {
        self.stages[index].producer().say_all(self.rooms[index], somebody(), &[text]).await;
    }

    /// All partitions take a turn at the same time.
    async fn steps(&mut self) -> Vec<Progress> {
        let turns = self.steps_or_errors().await;
        turns.into_iter().map(|turn| turn.expect("the turn goes well")).collect()
    }

    async fn steps_or_errors(&mut self) -> Vec<Result<Progress, shared::Error>> {
        join_all(self.works.iter_mut().map(|work| work.step())).await
    }

    async fn texts(&self, index: usize) -> Vec<String> {
        self.stages[index].texts(self.rooms[index]).await
    }

    /// In how many transactions the messages with this text were stored.
    async fn transactions_of(&self, text: &str) -> usize {
        let found: Vec<String> =
            sqlx::query_scalar("select xmin::text from hubbub.message where content = $1")
                .bind(text)
                .fetch_all(&self.stages[0].pool)
                .await
                .expect("Postgres answers");
        assert_eq!(found.len(), self.stages.len(), "everything is stored once");
        found.into_iter().collect::<BTreeSet<_>>().len()
    }
}

/// All of the leases, in the order of their partitions.
async fn take_all(stage: &Stage, office: &PostgresOffice) -> Vec<Hold> {
    let wanted: Vec<Partition> = PARTITIONS.map(|number| stage.at(number).partition).collect();
    let mut holds = office.claim(BootId::draw(), &wanted).await.expect("Postgres answers");
    holds.retain(|hold| wanted.contains(&hold.partition));
    holds.sort_by_key(|hold| hold.partition);
    holds
}

#[tokio::test]
async fn what_comes_at_the_same_time_shares_a_transaction() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let mut owner = Owner::on(&stage).await;
    let mut transactions = 0;
    for round in 0..ROUNDS {
        let text = format!("round {round}");
        for index in 0..owner.stages.len() {
            owner.says(index, &text).await;
        }
        assert_eq!(owner.steps().await, [Progress::Worked; 4]);
        transactions += owner.transactions_of(&text).await;
    }
    assert!(transactions < ROUNDS * owner.stages.len(), "{transactions} transactions: none was shared");
    for stage in &owner.stages {
        assert_eq!(stage.watermark().await, stage.newest().await);
    }
}

#[tokio::test]
async fn one_that_was_fenced_is_left_out_and_the_others_are_stored() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let mut owner = Owner::on(&stage).await;
    owner.stages[1].lapse().await;
    let mut successor = owner.stages[1].persister().await;
    for index in 0..owner.stages.len() {
        owner.says(index, "one").await;
    }
    assert_eq!(
        owner.steps().await,
        [Progress::Worked, Progress::LostLease, Progress::Worked, Progress::Worked]
    );
    for index in [0, 2, 3] {
        assert_eq!(owner.texts(index).await, ["one"]);
    }
    assert!(owner.texts(1).await.is_empty());
    owner.stages[1].store_all(&mut successor).await;
    assert_eq!(owner.texts(1).await, ["one"]);
}

#[tokio::test]
async fn of_two_holds_of_one_partition_in_one_transaction_only_the_newer_stores() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let mut owner = Owner::on(&stage).await;
    owner.stages[1].lapse().await;
    let office = PostgresOffice::new(stage.log.clone(), stage.pool.clone(), LEASE);
    let group = GroupCommit::new(stage.pool.clone(), 16, Duration::from_millis(50));
    let newer = office.claim(BootId::draw(), &[owner.holds[1].partition]).await.expect("Postgres answers");
    let begin = |hold: Hold| Persist::new(stage.log.clone(), stage.pool.clone(), hold, group.clone());
    owner.works = [owner.holds[0], newer[0]].map(begin).into();
    for round in 0..ROUNDS {
        // Again one that has not heard that it lost the partition.
        let stale = Hold { watermark: owner.stages[1].watermark().await, ..owner.holds[1] };
        owner.works.push(begin(stale));
        let text = format!("round {round}");
        for index in [0, 1] {
            owner.says(index, &text).await;
        }
        assert_eq!(owner.steps().await, [Progress::Worked, Progress::Worked, Progress::LostLease], "{text}");
        owner.works.pop();
        for index in [0, 1] {
            assert_eq!(owner.texts(index).await.len(), round + 1, "{text}");
        }
    }
}

#[tokio::test]
async fn an_owner_that_is_paused_in_a_shared_transaction_is_followed_and_fenced_in_all_of_it() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let sessions = pool(&stage.database_url, Duration::from_millis(600));
    let mut owner = Owner::through(&stage, &sessions).await;
    owner.says_everywhere("during").await;
    let mut wall = stage.wall_without_a_lock().await;
    let rooms = owner.rooms.clone();
    let stages: Vec<Stage> = PARTITIONS.map(|number| stage.at(number)).collect();
    let mut turns = Box::pin(owner.steps_or_errors());
    let inside = eventually(PATIENCE, async || {
        assert!((&mut turns).now_or_never().is_none(), "the turns can't end before the wall");
        wall.holds_up().await
    });
    inside.await.expect("the turns are inside their transaction");
    // From here on nobody polls the turns: their process is paused, and their session idle within the transaction.
    wall.falls().await;
    let office = PostgresOffice::new(stage.log.clone(), stage.pool.clone(), LEASE);
    let mut holds = Vec::new();
    let taken = eventually(PATIENCE, async || {
        for stage in &stages {
            stage.lapse().await;
        }
        holds = take_all(&stage, &office).await;
        (holds.len() == stages.len()).then_some(())
    });
    taken.await.expect("the session is given up, and with it its locks");
    for (stage, hold) in stages.iter().zip(&holds) {
        stage.store_all(&mut office.begin(*hold)).await;
    }
    for outcome in turns.await {
        assert!(!matches!(outcome, Ok(Progress::Worked)), "{outcome:?}");
    }
    for (stage, room) in stages.iter().zip(rooms) {
        assert_eq!(stage.texts(room).await, ["during"]);
    }
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_any_more_is_given_up() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let (link, over) = Proxy::before(&stage.database_url).await;
    let sessions = pool(&over, Duration::from_secs(2));
    let mut owner = Owner::through(&stage, &sessions).await;
    owner.says_everywhere("one").await;
    let mut wall = stage.wall_without_a_lock().await;
    let stranded = async {
        wall.stops_somebody().await;
        link.strand();
        wall.falls().await;
    };
    let all: Vec<usize> = (0..owner.stages.len()).collect();
    tokio::join!(owner.stores(&all, "one"), stranded);
}

#[tokio::test]
async fn a_room_that_somebody_holds_holds_up_its_own_partition_alone() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let sessions = pool(&stage.database_url, PATIENCE * 2);
    let mut owner = Owner::through(&stage, &sessions).await;
    owner.says_everywhere("one").await;
    let mut holder = shared::store::begin(&stage.pool).await.expect("Postgres answers");
    sqlx::query("select from hubbub.room where id = $1 for update")
        .bind(owner.rooms[2].0)
        .execute(&mut *holder)
        .await
        .expect("nobody else holds it");
    owner.stores(&[0, 1, 3], "one").await;
    assert!(owner.texts(2).await.is_empty(), "its room is still held");
    holder.rollback().await.expect("Postgres answers");
    owner.stores(&[2], "one").await;
}

#[tokio::test]
async fn a_session_that_ends_before_its_commit_takes_all_watermarks_back_with_it() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let mut owner = Owner::on(&stage).await;
    for index in 0..owner.stages.len() {
        owner.says(index, "one").await;
    }
    let stages: Vec<Stage> = PARTITIONS.map(|number| stage.at(number)).collect();
    let before: Vec<EntryId> = join_all(stages.iter().map(Stage::watermark)).await;
    let mut wall = stage.wall_without_a_lock().await;
    let ended = async {
        let session = wall.stops_somebody().await;
        wall.ends(session).await;
        // Whoever tries again waits before the wall too.
        while wall.stops_somebody().await == session {}
        let now: Vec<EntryId> = join_all(stages.iter().map(Stage::watermark)).await;
        assert_eq!(now, before, "nothing is stored, and no watermark says so");
        wall.falls().await;
    };
    let (turns, ()) = tokio::join!(owner.steps(), ended);
    assert_eq!(turns, [Progress::Worked; 4]);
    for index in 0..owner.stages.len() {
        assert_eq!(owner.texts(index).await, ["one"]);
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_never_read_is_found_in_the_rows() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    let mut owner = Owner::on(&stage).await;
    for text in ["one", "two"] {
        for index in 0..owner.stages.len() {
            owner.says(index, text).await;
        }
        if text == "one" {
            assert_eq!(owner.steps().await, [Progress::Worked; 4]);
            owner.forgets_its_places();
        }
    }
    // The first turn finds that the rows have moved, the second goes on from there.
    for _ in 0..2 {
        assert_eq!(owner.steps().await, [Progress::Worked; 4]);
    }
    for index in 0..owner.stages.len() {
        assert_eq!(owner.texts(index).await, ["one", "two"]);
    }
}

#[tokio::test]
async fn poison_in_one_is_parked_there_and_harms_no_other() {
    let (stage, _servers) = Stage::with_servers(Database::Shared).await;
    plant_trouble(&stage).await;
    let mut owner = Owner::on(&stage).await;
    for index in 0..owner.stages.len() {
        owner.says(index, "before").await;
        owner.says(index, if index == 2 { "22P02" } else { "fine" }).await;
        owner.says(index, "after").await;
    }
    assert_eq!(owner.steps().await, [Progress::Worked; 4]);
    for index in 0..owner.stages.len() {
        let middle = if index == 2 { "unreadable" } else { "fine" };
        assert_eq!(owner.texts(index).await, ["before", middle, "after"]);
    }
    let parked: Vec<i16> = sqlx::query_scalar("select partition from hubbub.dead_letter")
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres answers");
    assert_eq!(parked, [5]);
}
