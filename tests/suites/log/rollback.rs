//! A log that comes back with less than it had: its file cut anywhere, or an older copy of it. Nothing is given out twice,
//! what Postgres has stays, and what neither has can be sent again under the same name.

use harness::children::{PATIENCE, eventually};
use harness::logs::{Line, Stage, place, somebody};
use harness::person::{Node, texts};
use harness::servers::{Backend, Database};
use harness::stack::{Role, Stack};
use shared::id::EntryId;
use shared::stream::Reading;
use uuid::Uuid;

/// Where the file is cut in every test run: behind the last whole entry, inside one, and behind a few. Each costs a start of
/// Redis.
const CUTS: [u64; 4] = [1, 97, 640, 2_900];
/// The long run cuts at so many other places, anywhere in what a round or two of this writes.
const RANDOM_CUTS: usize = 25;
const RANDOM_CUT_MOST: u128 = 9_000;

/// Files can be cut on this machine only.
fn can_cut() -> bool {
    Backend::chosen() == Backend::Local
}

/// Every entry that the log has is whole, and they follow upon each other.
async fn is_dense(stage: &Stage) {
    let mut cursor = stage.log.cursor(stage.partition, EntryId::default());
    let entries = cursor.read(Reading::Now, 100_000).await.expect("the log answers");
    for pair in entries.windows(2) {
        let (one, next) = (pair[0].entry, pair[1].entry);
        assert!(next == one.next() || (next.epoch > one.epoch && next.pseq == 1), "{one} and {next}");
    }
    assert!(entries.iter().all(|entry| entry.event().is_ok()), "an entry is there as a whole or not at all");
}

#[tokio::test]
async fn a_file_that_was_cut_anywhere_gives_out_nothing_twice() {
    files_are_cut(&CUTS).await;
}

#[tokio::test]
#[ignore = "long: twenty-five starts of Redis"]
async fn a_file_that_was_cut_at_twenty_five_random_bytes_gives_out_nothing_twice() {
    let draw = || u64::try_from(1 + Uuid::new_v4().as_u128() % RANDOM_CUT_MOST).expect("thousands");
    let cuts: Vec<u64> = std::iter::repeat_with(draw).take(RANDOM_CUTS).collect();
    // The test runner shows this beside a failure.
    eprintln!("cut off, in bytes: {cuts:?}");
    files_are_cut(&cuts).await;
}

async fn files_are_cut(cuts: &[u64]) {
    if !can_cut() {
        return;
    }
    let (stage, mut servers) = Stage::with_servers(Database::Shared).await;
    let mut persister = stage.open().await;
    let (room, ana, voice) = (stage.room().await, somebody(), stage.producer());
    let (mut lines, mut last) = (Vec::new(), EntryId::default());
    for (round, &cut) in cuts.iter().enumerate() {
        for n in 0..8 {
            let line = Line::new(room, ana, format!("{round}.{n}"));
            let placed = place(&voice.say(&line).await.expect("the log is open"));
            assert!(placed > last, "{placed} was given after {last}");
            last = placed;
            lines.push(line);
            if n == 3 {
                stage.store_all(&mut persister).await;
            }
        }
        servers.log.kill9();
        servers.log.cut_file(cut);
        servers.log.start().await;
        is_dense(&stage).await;
        stage.let_open(&mut persister).await;
        stage.store_all(&mut persister).await;
        let stored = stage.texts(room).await;
        let expected: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert!(stored.len() >= lines.len() - 4, "what was stored before the cut is there: {stored:?}");
        assert_eq!(stored, expected[..stored.len()], "what survived is a beginning, in order");
        // Whoever was told "accepted" sends again what is gone, under the same name.
        for line in &lines[stored.len()..] {
            let again = voice.say(line).await.expect("it is accepted anew");
            assert!(!again.again && place(&again) > last);
            last = place(&again);
        }
        stage.store_all(&mut persister).await;
        assert_eq!(stage.texts(room).await, expected);
    }
}

#[tokio::test]
async fn an_older_copy_of_the_log_makes_clients_read_anew_and_send_again() {
    if !can_cut() {
        return;
    }
    let mut stack = Stack::builder().nodes(2).start().await;
    let (ana, ben) = (stack.person("ana").await, stack.person("ben").await.at(Node(2)));
    let kept = ana.says("kept").await;
    stack.stored().await;
    stack.servers.log.stop().await;
    let copy = stack.servers.log.copy_files();
    stack.servers.log.start().await;
    stack.ready().await;
    let stored = ana.says("stored").await;
    stack.stored().await;
    stack.stop(Role::Persister, 1).await;
    let lost = ana.tries_to_say("lost", Some("one name")).await.expect("an answer").ok();
    let place = format!("{}:{}", lost["epoch"], lost["seq"]);

    stack.servers.log.kill9();
    stack.servers.log.restore_files(&copy);
    stack.servers.log.start().await;
    stack.add(Role::Persister).await;
    stack.ready().await;
    let mut socket = ben.resume(&place).await;
    let resync = socket.next("resync").await;
    assert!(resync["epoch"].as_u64() > lost["epoch"].as_u64(), "{resync} after {lost}");
    assert_eq!(texts(&ben.get("/live-chat/messages").await.ok()), ["kept", "stored"]);
    let again = eventually(PATIENCE, async || {
        let answer = ana.tries_to_say("lost", Some("one name")).await?;
        (answer.status == 200).then_some(answer.body)
    });
    let again = again.await.expect("it is accepted anew");
    assert_eq!(socket.hears(1).await, ["lost"]);
    assert_ne!(again["message_id"], lost["message_id"], "no number is given out twice");
    for earlier in [&kept, &stored] {
        assert_ne!(again["message_id"], earlier["message_id"]);
    }
    assert_eq!(texts(&ana.get("/live-chat/messages").await.ok()), ["kept", "stored", "lost"]);
    drop(socket);
    stack.finish().await;
}
