//! `append.lua` itself, called with what no producer of today would send: every answer, and what each leaves behind.

use std::collections::BTreeMap;

use harness::logs::{Line, Stage, now_ms, somebody};
use shared::id::RoomId;
use shared::{keys, planted};
use uuid::Uuid;

const SCRIPT: &str = include_str!("../../../shared/src/stream/lua/append.lua");

/// The script's arguments in their order.
const NAMES: [&str; 25] = [
    "room",
    "to",
    "body",
    "nonce",
    "digest",
    "nonce_ms",
    "checked",
    "number",
    "restricting",
    "target",
    "person",
    "wanted",
    "own_target",
    "rate_max",
    "rate_window",
    "cap_entries",
    "cap_bytes",
    "retain",
    "seed_epoch",
    "seed_time",
    "seed_wepoch",
    "seed_wpseq",
    "seed_room",
    "seed_nonce",
    "seed_target",
];

type Args = BTreeMap<&'static str, String>;

/// An event of `room` with room for it, and what `more` says.
fn event(room: RoomId, more: &[(&'static str, &str)]) -> Args {
    let mut args = Args::new();
    for (name, value) in
        [("body", "{}"), ("cap_entries", "1000"), ("cap_bytes", "1000000"), ("retain", "600000")]
    {
        args.insert(name, value.to_owned());
    }
    args.insert("room", room.to_string());
    for (name, value) in more {
        assert!(NAMES.contains(name), "{name} is no argument of the script");
        args.insert(name, (*value).to_owned());
    }
    args
}

/// Calls the script on the partition of `stage`.
async fn call(stage: &Stage, args: &Args) -> Vec<String> {
    let script = redis::Script::new(&planted::script(SCRIPT));
    let mut call = script.prepare_invoke();
    for key in [keys::meta, keys::rooms, keys::memo, keys::log] {
        call.key(key(stage.partition));
    }
    call.key(format!("{{p{}}}:rate", stage.partition));
    for name in NAMES {
        call.arg(args.get(name).map_or("", String::as_str));
    }
    call.invoke_async(&mut stage.redis().await).await.expect("the script answers")
}

async fn answer(stage: &Stage, args: &Args) -> String {
    call(stage, args).await.swap_remove(0)
}

/// The room as Postgres would have it, freshly read at the published watermark.
fn seed(state: &shared::stream::State, age_ms: u64) -> [(&'static str, String); 5] {
    [
        ("seed_epoch", state.epoch.expect("it is open").to_string()),
        ("seed_time", (now_ms() - age_ms).to_string()),
        ("seed_wepoch", state.watermark.epoch.to_string()),
        ("seed_wpseq", state.watermark.pseq.to_string()),
        ("seed_room", "7 0 0".to_owned()),
    ]
}

fn seeded(room: RoomId, seed: &[(&'static str, String)]) -> Args {
    let mut args = event(room, &[]);
    args.extend(seed.iter().cloned());
    args
}

#[tokio::test]
async fn no_answer_but_ok_leaves_a_trace() {
    let stage = Stage::start().await;
    let (room, ana) = (stage.room().await, somebody());
    assert_eq!(answer(&stage, &event(room, &[])).await, "NOTOPEN");
    assert!(stage.dump().await.is_empty());

    let _persister = stage.open().await;
    let known = Line::new(room, ana, "hello").named("draft-1");
    let said = stage.producer().say(&known).await.expect("it is accepted");
    let liked = Some((known.id(), said.no));
    let like = stage.producer().like(room, liked, ana, shared::stream::Wanted::Liked).await;
    like.expect("it counts");
    let (id, person) = (known.id().to_string(), ana.to_string());
    let (id, person) = (id.as_str(), person.as_str());
    let changed = [("number", "1"), ("restricting", "1"), ("rate_max", "1"), ("rate_window", "60000")];
    assert_eq!(answer(&stage, &event(room, &changed)).await, "OK");
    let stranger = Uuid::new_v4().to_string();
    let state = stage.log.state(stage.partition).await.expect("the log answers");
    let mut gone = seeded(room, &seed(&state, 0));
    gone.extend([("target", stranger.clone()), ("person", person.to_owned()), ("wanted", "1".to_owned())]);
    gone.insert("seed_target", "x 0".to_owned());

    let unknown = stage.unknown_room();
    let full = [("cap_entries", "1"), ("cap_bytes", "1000000")];
    for (expected, args) in [
        ("REUSED", event(room, &[("nonce", id), ("digest", "other"), ("nonce_ms", "0")])),
        ("NEEDSEED", event(unknown, &[])),
        ("NEEDSEED", event(room, &[("nonce", &stranger), ("digest", "d"), ("nonce_ms", "0")])),
        ("NEEDSEED", event(room, &[("target", &stranger), ("person", person), ("wanted", "1")])),
        ("DUP", event(room, &[("number", "1"), ("restricting", "1")])),
        ("WAIT", event(room, &[("number", "3")])),
        ("STALEAUTH", event(room, &[("checked", "0")])),
        ("AHEAD", event(room, &[("checked", "2")])),
        ("GONE", gone),
        ("SAME", event(room, &[("target", id), ("person", person), ("wanted", "1")])),
        ("RATE", event(room, &[("rate_max", "1"), ("rate_window", "60000")])),
        ("OVERLOADED", event(room, &full)),
        (
            "OVERLOADED",
            seeded(unknown, &[seed(&state, 0).as_slice(), &full.map(|(n, v)| (n, v.to_owned()))].concat()),
        ),
    ] {
        let before = stage.dump().await;
        assert_eq!(answer(&stage, &args).await, expected, "{args:?}");
        assert!(stage.dump().await == before, "{expected} changed something: {args:?}");
    }
    let before = stage.dump().await;
    assert!(stage.producer().say(&known).await.expect("it is known").again);
    assert!(stage.dump().await == before, "DUP changed something");
}

#[tokio::test]
async fn a_seed_counts_only_while_nothing_can_have_happened_that_it_does_not_know_of() {
    let stage = Stage::start().await;
    let mut persister = stage.open().await;
    stage.producer().say_all(stage.room().await, somebody(), &["one", "two"]).await;
    stage.store_all(&mut persister).await;
    stage.reopen(&mut persister).await;
    stage.producer().say_all(stage.room().await, somebody(), &["three"]).await;
    stage.store_all(&mut persister).await;
    let state = stage.log.state(stage.partition).await.expect("the log answers");
    assert_eq!((state.epoch, state.watermark.pseq), (Some(2), 1));

    let spoilt = |name: &'static str, value: &str| {
        let mut seed = seed(&state, 0);
        seed.iter_mut().filter(|(found, _)| *found == name).for_each(|(_, old)| value.clone_into(old));
        seed
    };
    let room = stage.room().await;
    let trimmed_to = async |pseq: &str| {
        let (meta, mut redis) = (keys::meta(stage.partition), stage.redis().await);
        let set = redis::cmd("HSET").arg(meta).arg("trimmed").arg(pseq).exec_async(&mut redis).await;
        set.expect("Redis answers");
    };
    trimmed_to("1").await;
    for (what, seed) in [
        ("of an older epoch", spoilt("seed_epoch", "1")),
        ("read too long ago", seed(&state, 5_100)),
        ("from before what was trimmed", spoilt("seed_wpseq", "0")),
        ("from before this epoch", spoilt("seed_wepoch", "1")),
    ] {
        assert_eq!(call(&stage, &seeded(room, &seed)).await[..2], ["NEEDSEED", "room"], "a seed {what}");
    }
    let taken = call(&stage, &seeded(room, &seed(&state, 4_000))).await;
    assert_eq!((taken[0].as_str(), taken[3].as_str()), ("OK", "8"), "the room had seven");
    let late = call(&stage, &seeded(room, &seed(&state, 0))).await;
    assert_eq!((late[0].as_str(), late[3].as_str()), ("OK", "9"), "a room that is known is not seeded again");

    // More was stored and published since Postgres was read, but all of that is still remembered.
    trimmed_to("0").await;
    let taken = call(&stage, &seeded(stage.room().await, &spoilt("seed_wpseq", "0"))).await;
    assert_eq!((taken[0].as_str(), taken[3].as_str()), ("OK", "8"));
}

#[tokio::test]
async fn membership_changes_are_taken_in_order_and_permission_is_checked_where_the_order_is_made() {
    let stage = Stage::start().await;
    let _persister = stage.open().await;
    let room = stage.room().await;
    stage.producer().say_all(room, somebody(), &["the room is known now"]).await;
    let change = |number: &str, restricting: bool| {
        let mut args = event(room, &[("number", number)]);
        if restricting {
            args.insert("restricting", "1".to_owned());
        }
        args
    };
    let checked = |number: &str| event(room, &[("checked", number)]);

    assert_eq!(call(&stage, &change("2", false)).await, ["WAIT", "0"], "the first one is missing");
    assert_eq!(answer(&stage, &change("1", false)).await, "OK");
    assert_eq!(answer(&stage, &change("1", false)).await, "DUP", "the sweep came second");
    assert_eq!(answer(&stage, &checked("0")).await, "OK", "somebody who was let in takes no right away");
    assert_eq!(answer(&stage, &change("2", true)).await, "OK");
    assert_eq!(call(&stage, &checked("1")).await, ["STALEAUTH", "2"]);
    assert_eq!(call(&stage, &checked("3")).await, ["AHEAD", "2"]);
    assert_eq!(answer(&stage, &checked("2")).await, "OK");
    assert_eq!(answer(&stage, &change("3", false)).await, "OK");
    assert_eq!(answer(&stage, &checked("2")).await, "OK", "still above the last restricting change");

    let mut crowded = change("4", true);
    crowded.insert("cap_entries", "1".to_owned());
    assert_eq!(answer(&stage, &crowded).await, "OK", "a removal is never shed");
    let mut line = checked("4");
    line.insert("cap_entries", "1".to_owned());
    assert_eq!(answer(&stage, &line).await, "OVERLOADED");
}
