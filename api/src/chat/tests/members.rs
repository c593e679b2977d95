//! A change of members is true everywhere from its answer on: what it forbids is neither accepted nor delivered.

use std::sync::atomic::{AtomicBool, Ordering};

use harness::children::{PATIENCE, eventually};
use serde_json::Value;
use shared::Code;
use shared::bus::Topic;
use shared::event::{Became, Event};
use shared::id::{AccountId, Position, RoomId};
use shared::store::membership::{self, Wish};
use shared::user::Account;

use super::{Node, code, finish, person, stack};
use crate::chat::{history, policy, rooms, seats};

/// Rounds of the races in every test run; the long one has a thousand.
const ROUNDS: usize = 50;

fn ended(person: AccountId) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::MembershipChanged(change) if change.person == person && change.became.shuts_out())
}

/// Writes without pause until refused, which must be before anything is accepted after the answer to the removal; answers
/// the places of what was accepted.
async fn writes(node: &Node, ben: &Account, room: RoomId, removed: &AtomicBool) -> Vec<Position> {
    let mut accepted = Vec::new();
    loop {
        let was_removed = removed.load(Ordering::SeqCst);
        match node.says(ben, room, "mine").await {
            Ok(receipt) => {
                assert!(!was_removed, "accepted after the removal was answered");
                accepted.push(receipt.position);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::NotFound, "{error}");
                return accepted;
            }
        }
    }
}

/// Reads pages without pause until refused; none shows what was said after the removal.
async fn reads(node: &Node, ben: &Account, room: RoomId) {
    loop {
        match history::page_for(&node.app, ben.id, room, None, 50).await {
            Ok(page) => {
                let shown = page.messages.iter().filter_map(|message| message.text.as_deref());
                assert!(!shown.into_iter().any(|text| text == "after"), "a page shows what came after");
            }
            Err(error) => return assert_eq!(error.code(), Code::NotFound, "{error}"),
        }
    }
}

async fn removes(node: &Node, ana: &Account, ben: &Account, room: RoomId, removed: &AtomicBool) {
    rooms::remove(&node.app, ana.id, room, ben.id).await.expect("an admin may remove");
    removed.store(true, Ordering::SeqCst);
    node.says(ana, room, "after").await.expect("ana may write");
}

fn place(frame: &Value) -> Position {
    let epoch = frame["epoch"].as_u64().and_then(|epoch| u32::try_from(epoch).ok());
    Position { epoch: epoch.expect("an epoch"), seq: frame["seq"].as_u64().expect("a number") }
}

/// One round: Ben comes in, reads and writes without pause while Ana takes him out at another node.
async fn race(near: &Node, far: &Node) {
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    for node in [near, far] {
        node.says(&ana, room, "before").await.expect("ana may write");
        node.says(&ben, room, "before").await.expect("ben may write");
    }
    let mut witness = near.listens(&ana, room, Position::default()).await.expect("ana may read");
    let removed = AtomicBool::new(false);
    let (ear, accepted, (), ()) = tokio::join!(
        near.listens(&ben, room, Position::default()),
        writes(near, &ben, room, &removed),
        reads(near, &ben, room),
        removes(far, &ana, &ben, room, &removed),
    );
    let removal = far.place_of(room, ended(ben.id)).await;
    assert!(accepted.iter().all(|place| *place < removal), "{accepted:?} and {removal}");
    // The same node has given "after" to everybody who may hear it, once somebody has it.
    while witness.hears().await != "after" {}
    match ear {
        Ok(ear) => {
            for frame in ear.everything().await {
                assert!(place(&frame) < removal, "{frame} was heard, the removal is at {removal}");
            }
        }
        Err(error) => assert_eq!(error.code(), Code::NotFound, "{error}"),
    }
    assert_eq!(code(near.listens(&ben, room, Position::default()).await), Some(Code::NotFound));
    witness.everything().await;
}

async fn races(rounds: usize) {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for _ in 0..rounds {
        race(&near, &far).await;
    }
    finish(stack, vec![near, far]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s12_who_is_removed_neither_hears_nor_says_anything_from_there_on() {
    races(ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a thousand races"]
async fn s12_a_thousand_removals_leak_nothing() {
    races(1_000).await;
}

#[tokio::test]
async fn a_permission_from_before_a_removal_opens_no_room() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    let old =
        seats::allowed(&near.app, room, ben.id, policy::may_read).await.expect("ben is a member").number;
    rooms::remove(&far.app, ana.id, room, ben.id).await.expect("an admin may remove");
    far.says(&ana, room, "after").await.expect("ana may write");
    let refused = near.listens_since(&ben, room, Position::default(), old).await;
    assert_eq!(code(refused), Some(Code::NotFound), "the room is new to this node");
    let mut witness = near.listens(&ana, room, Position::default()).await.expect("ana may read");
    assert_eq!(witness.hears().await, "after");
    let refused = near.listens_since(&ben, room, Position::default(), old).await;
    assert_eq!(code(refused), Some(Code::NotFound), "and now it is known");
    let mut another = near.listens_since(&ana, room, Position::default(), old).await.expect("ana may read");
    assert_eq!(another.hears().await, "after", "who was not removed is looked up and let in");
    another.everything().await;
    witness.everything().await;
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn what_is_fetched_behind_a_hole_is_not_told_to_who_was_removed_in_it() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    let mut witness = near.listens(&ana, room, Position::default()).await.expect("ana may read");
    let mut ear = near.listens(&ben, room, Position::default()).await.expect("ben may read");
    far.says(&ana, room, "before").await.expect("ana may write");
    assert_eq!((witness.hears().await, ear.hears().await), ("before".into(), "before".into()));
    // The node hears of nothing until all of it is in Postgres alone, whose rows know messages and no members.
    near.app.bus.unregister(Topic::Room(room), near.app.hub.boot()).await.expect("the bus answers");
    rooms::remove(&far.app, ana.id, room, ben.id).await.expect("an admin may remove");
    far.says(&ana, room, "in the hole").await.expect("ana may write");
    stack.stored().await;
    let forgotten = eventually(PATIENCE, async || {
        far.app.log.tail(room, 10).await.is_ok_and(|tail| tail.entries.is_empty()).then_some(())
    });
    forgotten.await.expect("the tail is published as stored");
    near.app.bus.register(Topic::Room(room), near.app.hub.boot()).await.expect("the bus answers");
    far.says(&ana, room, "behind it").await.expect("ana may write");
    assert_eq!(witness.hears().await, "in the hole");
    assert_eq!(witness.hears().await, "behind it");
    let heard = ear.everything().await;
    assert!(heard.iter().all(|frame| frame["type"] != "new_message"), "{heard:?}");
    witness.everything().await;
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn whoever_comes_back_may_write_and_sees_everything_again() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (person("ana"), person("ben"));
    let room = near.group(&[&ana, &ben]).await;
    near.says(&ben, room, "first").await.expect("ben may write");
    rooms::remove(&far.app, ana.id, room, ben.id).await.expect("an admin may remove");
    far.says(&ana, room, "without ben").await.expect("ana may write");
    assert_eq!(code(near.says(&ben, room, "no").await), Some(Code::NotFound));
    rooms::add(&far.app, ana.id, room, ben.id).await.expect("an admin may add");
    near.says(&ben, room, "back").await.expect("what was given is found before anybody is refused");
    let mut ear = near.listens(&ben, room, Position::default()).await.expect("ben is a member");
    for text in ["first", "without ben", "back"] {
        assert_eq!(ear.hears().await, text);
    }
    ear.everything().await;
    finish(stack, vec![near, far]).await;
}

/// A change that is committed and not logged, as a crash between the two leaves it.
async fn commit_only(node: &Node, room: RoomId, person: &Account, by: &Account, became: Became) {
    let wish = Wish { room, person: person.id, by: by.id, became, checked: u64::MAX };
    membership::commit(&node.app.pool, &wish).await.expect("Postgres takes it");
}

#[tokio::test]
async fn a_removal_that_was_not_logged_yet_comes_before_what_the_person_says_after_coming_back() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben) = (person("ana"), person("ben"));
    let room = node.group(&[&ana, &ben]).await;
    let first = node.says(&ben, room, "first").await.expect("ben may write");
    commit_only(&node, room, &ben, &ana, Became::Gone).await;
    commit_only(&node, room, &ben, &ana, Became::Member).await;
    node.app.seats.forget(room, ben.id).await;
    let second = node.says(&ben, room, "second").await.expect("ben is a member again");
    let removal = node.place_of(room, ended(ben.id)).await;
    assert!(first.position < removal && removal < second.position, "{removal}");
    assert_eq!(second.position.seq, first.position.seq + 3, "both changes stand between");
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn what_a_crash_left_in_the_outbox_is_swept_into_the_log() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben) = (person("ana"), person("ben"));
    let room = node.group(&[&ana, &ben]).await;
    node.says(&ben, room, "first").await.expect("ben may write");
    commit_only(&node, room, &ben, &ana, Became::Banned).await;
    stack.run("update hubbub.outbox set created_at = created_at - interval '1 minute'").await;
    let swept = eventually(PATIENCE, async || {
        let (_, head) = node.app.log.head(room).await.ok()?;
        (head?.restricting == 3).then_some(())
    });
    swept.await.expect("the persister sweeps the outbox");
    assert_eq!(code(node.says(&ben, room, "no").await), Some(Code::NotFound));
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn a_public_room_is_open_to_all_but_the_banned() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben) = (person("ana"), person("ben"));
    let general = RoomId("6f0b6f2e-52a5-4d0e-9d43-0f7d7a1c0001".parse().expect("a UUID"));
    commit_only(&node, general, &ana, &ana, Became::Admin).await;
    assert_eq!(code(node.says(&ben, general, "from outside").await), Some(Code::Forbidden));
    rooms::join(&node.app, ben.id, general).await.expect("anybody may");
    node.says(&ben, general, "from inside").await.expect("ben is in");
    rooms::ban(&node.app, ana.id, general, ben.id).await.expect("an admin may");
    assert_eq!(code(rooms::join(&node.app, ben.id, general).await), Some(Code::NotFound));
    assert_eq!(code(history::page_for(&node.app, ben.id, general, None, 50).await), Some(Code::NotFound));
    rooms::unban(&node.app, ana.id, general, ben.id).await.expect("an admin may");
    rooms::join(&node.app, ben.id, general).await.expect("ben may again");
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn who_is_banned_does_not_come_back_and_who_is_no_admin_changes_nobody() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben, carl) = (person("ana"), person("ben"), person("carl"));
    let room = node.group(&[&ana, &ben, &carl]).await;
    assert_eq!(code(rooms::remove(&node.app, ben.id, room, carl.id).await), Some(Code::Forbidden));
    rooms::promote(&node.app, ana.id, room, ben.id).await.expect("an admin may");
    rooms::ban(&node.app, ben.id, room, carl.id).await.expect("an admin may");
    assert_eq!(code(rooms::leave(&node.app, carl.id, room).await), Some(Code::NotFound));
    rooms::demote(&node.app, ana.id, room, ben.id).await.expect("an admin may");
    assert_eq!(code(rooms::unban(&node.app, ben.id, room, carl.id).await), Some(Code::Forbidden));
    rooms::leave(&node.app, ben.id, room).await.expect("whoever is in may go");
    let members = stack.count("select member_count::bigint from hubbub.room where kind = 'group'").await;
    assert_eq!(members, 1);
    finish(stack, vec![node]).await;
}
