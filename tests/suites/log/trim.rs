//! Trimming: nothing that Postgres lacks is ever dropped, and what is dropped takes along what was remembered of it.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::logs::{CAPS, Line, RETAIN, Stage, place, refusal, somebody};
use persister::Persist;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shared::error::Code;
use shared::id::{AccountId, EntryId, RoomId};
use shared::keys;
use shared::stream::{Log, Reading, Work, trim};

async fn retained(stage: &Stage) -> BTreeSet<EntryId> {
    let mut cursor = stage.log.cursor(stage.partition, EntryId::default());
    let entries = cursor.read(Reading::Now, 100_000).await.expect("the log answers");
    entries.into_iter().map(|envelope| envelope.entry).collect()
}

async fn remembered(stage: &Stage) -> u32 {
    let mut length = redis::cmd("HLEN");
    length.arg(keys::memo(stage.partition));
    length.query_async(&mut stage.redis().await).await.expect("the log's Redis answers")
}

/// What may happen to a log.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Say,
    /// The persister's turn, cut off after so many tenths of a millisecond, or not at all.
    Store(Option<u64>),
    Trim,
    /// Postgres comes back from the state before the last few entries.
    SetBack,
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => Just(Deed::Say),
        3 => Just(Deed::Store(None)),
        2 => (0..50_u64).prop_map(|tenths| Deed::Store(Some(tenths))),
        5 => Just(Deed::Trim),
        1 => Just(Deed::Reopen),
        1 => Just(Deed::SetBack),
    ];
    prop::collection::vec(deed, 1..40)
}

/// A log that keeps entries no longer than it must, and all that was ever accepted by it.
struct Trial {
    stage: Stage,
    hasty: Log,
    persister: Option<Persist>,
    room: RoomId,
    ana: AccountId,
    acked: BTreeSet<EntryId>,
    /// Whether a turn was cut off, so that what it asked for last may still be on its way.
    unsettled: bool,
}

impl Trial {
    async fn begin() -> Self {
        let stage = Stage::start().await;
        let persister = Some(stage.open().await);
        let hasty = stage.log_with(Duration::ZERO, CAPS).await;
        let room = stage.room().await;
        Self { stage, hasty, persister, room, ana: somebody(), acked: BTreeSet::new(), unsettled: false }
    }

    async fn persister(&mut self) -> Persist {
        match self.persister.take() {
            Some(persister) => persister,
            None => {
                self.stage.lapse().await;
                self.stage.persister().await
            }
        }
    }

    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Say => {
                let said = self.stage.producer().say(&Line::new(self.room, self.ana, "x")).await;
                self.acked.insert(place(&said.expect("the log is open")));
            }
            Deed::Store(cut) => {
                let mut persister = self.persister().await;
                match cut {
                    None => self.stage.store_all(&mut persister).await,
                    Some(tenths) => {
                        let cut = Duration::from_micros(100 * tenths);
                        let _ = tokio::time::timeout(cut, persister.step()).await;
                    }
                }
                self.unsettled = cut.is_some();
                self.persister = Some(persister);
            }
            Deed::Trim => {
                trim(&self.hasty, self.stage.partition).await.expect("the log answers");
            }
            Deed::SetBack if self.unsettled => {}
            Deed::SetBack => {
                // No further than what is published: below it, retention alone can heal, and here nothing is retained.
                let published =
                    self.stage.log.state(self.stage.partition).await.expect("the log answers").watermark;
                self.stage.rewind_postgres(published.min(self.stage.watermark().await)).await;
                self.persister = None;
            }
            Deed::Reopen => {
                let mut persister = self.persister().await;
                self.stage.reopen(&mut persister).await;
                self.unsettled = true;
                self.persister = Some(persister);
            }
        }
    }

    async fn check(&self) {
        let retained = retained(&self.stage).await;
        let stored = self.stage.watermark().await;
        for entry in self.acked.range(stored.next()..) {
            assert!(
                retained.contains(entry),
                "{entry} is gone, and Postgres has only what is up to {stored}"
            );
        }
        let state = self.stage.log.state(self.stage.partition).await.expect("the log answers");
        assert!(state.watermark <= stored, "{} is published, {stored} is stored", state.watermark);
    }
}

#[test]
fn whatever_happens_in_whichever_order_nothing_goes_that_postgres_lacks() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let trial = std::sync::Arc::new(tokio::sync::Mutex::new(runtime.block_on(Trial::begin())));
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&deeds(), |deeds| {
        runtime.block_on(async {
            let mut trial = trial.lock().await;
            for deed in deeds {
                trial.act(deed).await;
                trial.check().await;
            }
        });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(async {
        let mut trial = trial.lock().await;
        let mut persister = trial.persister().await;
        trial.stage.store_all(&mut persister).await;
        let stored = trial.stage.stored(trial.room).await;
        assert_eq!(stored.len(), trial.acked.len(), "each accepted line is one row");
        assert!(stored.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1), "and the room has no hole");
    });
}

#[tokio::test]
async fn what_is_young_stays_though_it_is_stored() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    stage.producer().say_all(stage.room().await, somebody(), &["one", "two"]).await;
    stage.store_all(&mut persister).await;
    let patient = stage.log_with(RETAIN, CAPS).await;
    assert_eq!(trim(&patient, stage.partition).await.expect("the log answers"), 0);
    assert_eq!(retained(&stage).await.len(), 2);
}

#[tokio::test]
async fn an_entry_takes_along_what_was_remembered_of_it_and_nothing_else() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let early = Line::new(room, ana, "early").named("early");
    let first = voice.say(&early).await.expect("it is accepted");
    stage.store_all(&mut persister).await;
    let late = Line::new(room, ana, "late").named("late");
    voice.say(&late).await.expect("it is accepted");
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    let before = remembered(&stage).await;
    assert_eq!(trim(&hasty, stage.partition).await.expect("the log answers"), 1);
    assert_eq!(remembered(&stage).await, before / 2, "one of two nonces, one of two targets");

    assert_eq!(refusal(stage.producer_without_postgres().say(&early).await), Code::Unavailable);
    assert!(stage.producer_without_postgres().say(&late).await.expect("the log knows it").again);
    let again = voice.say(&early).await.expect("Postgres knows it");
    assert_eq!((again.again, again.no), (true, first.no));

    stage.store_all(&mut persister).await;
    trim(&hasty, stage.partition).await.expect("the log answers");
    assert_eq!(remembered(&stage).await, 0);
    let next = voice.say(&Line::new(room, ana, "next")).await.expect("it is accepted");
    assert_eq!(next.position.seq, 3, "a room's numbers do not go with its entries");
}

#[tokio::test]
async fn a_call_drops_five_hundred_at_most_and_the_lag_stays_known() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let lines: Vec<Line> = (0..620).map(|n| Line::new(room, ana, n.to_string())).collect();
    for line in futures_util::future::join_all(lines.iter().map(|line| voice.say(line))).await {
        line.expect("it is accepted");
    }
    stage.store_all(&mut persister).await;
    stage
        .log
        .publish_watermark(stage.partition, stage.watermark().await, true)
        .await
        .expect("the log answers");
    let hasty = stage.log_with(Duration::ZERO, CAPS).await;
    for expected in [500, 120, 0] {
        assert_eq!(trim(&hasty, stage.partition).await.expect("the log answers"), expected);
        assert_eq!(stage.lag(keys::PERSISTER).await, Some(0));
    }
    voice.say_all(room, ana, &["a", "b", "c"]).await;
    assert_eq!(stage.lag(keys::PERSISTER).await, Some(3));
    stage.store_all(&mut persister).await;
    assert_eq!(stage.stored(room).await.len(), 623);
}
