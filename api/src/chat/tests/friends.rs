//! Friendship is true everywhere from its answer on: what its end or a block forbids is accepted nowhere, whatever a node
//! remembers.

mod endings;

use std::sync::atomic::{AtomicBool, Ordering};

use shared::event::{Became, Event};
use shared::id::{AccountId, Nonce, Position, RoomId};
use shared::message::MessageText;
use shared::store::accounts::{self, Seen};
use shared::store::friendships;
use shared::user::{Account, Roles};
use shared::{Code, Error, Refusal};
use uuid::Uuid;

use super::{Node, code, finish, stack};
use crate::chat::friends::{self, Outcome, Whom};
use crate::chat::send::{self, Draft};
use crate::chat::{history, policy, rooms};

/// Rounds of the races in every test run; the long ones have a thousand.
const ROUNDS: usize = 50;

/// Somebody who has signed in once.
async fn known(node: &Node, name: &str) -> Account {
    let id = AccountId(Uuid::new_v4());
    let seen = Seen {
        id,
        issuer: "test",
        username: Some(name),
        fallback_name: name,
        full_name: None,
        avatar: None,
        roles: Roles::NONE,
    };
    accounts::see(&node.app.pool, &seen).await.expect("Postgres takes an account")
}

async fn asks(node: &Node, me: &Account, other: &Account) -> Result<Outcome, Error> {
    friends::request(&node.app, me.id, Whom::Id(other.id)).await
}

async fn become_friends(node: &Node, one: &Account, other: &Account) {
    let Ok(Outcome::Pending(request)) = asks(node, one, other).await else { panic!("nobody asked before") };
    friends::accept(&node.app, other.id, request.id).await.expect("the one who was asked may accept");
}

async fn writes(node: &Node, me: &Account, other: &Account) -> Result<Position, Error> {
    let text = MessageText::parse("hello".to_owned(), 100).expect("a good text");
    let room = RoomId::of_pair(me.id, other.id);
    let draft = Draft { room, text, nonce: Nonce::draw(), per_minute: None, origin: None };
    Ok(send::send_to_friend(&node.app, me, other.id, draft).await?.position)
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Refusal {
    match outcome {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("this is refused: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_answered_on_one_node_binds_on_the_other_at_once() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
    assert_eq!(refusal(writes(&near, &ana, &ben).await).code, Code::NotFriends);
    become_friends(&far, &ana, &ben).await;
    for node in [&near, &far] {
        writes(node, &ana, &ben).await.expect("friends write");
        writes(node, &ben, &ana).await.expect("friends write");
    }
    friends::unfriend(&far.app, ben.id, ana.id).await.expect("anybody may go");
    for node in [&near, &far] {
        assert_eq!(refusal(writes(node, &ana, &ben).await).code, Code::NotFriends);
        assert_eq!(refusal(writes(node, &ben, &ana).await).code, Code::NotFriends);
    }
    let room = RoomId::of_pair(ana.id, ben.id);
    let page = history::page_for(&near.app, ana.id, room, None, 50).await.expect("what was said stays");
    assert_eq!(page.messages.len(), 4);

    become_friends(&near, &ben, &ana).await;
    writes(&far, &ana, &ben).await.expect("friends again");
    writes(&near, &ben, &ana).await.expect("friends again");
    friends::block(&near.app, ana.id, ben.id).await.expect("anybody may block");
    for node in [&near, &far] {
        assert_eq!(refusal(writes(node, &ana, &ben).await), policy::not_friends());
        assert_eq!(refusal(writes(node, &ben, &ana).await), policy::not_friends());
        assert_eq!(code(asks(node, &ben, &ana).await), Some(Code::NotFound));
        assert_eq!(code(asks(node, &ana, &ben).await), Some(Code::NotFound));
    }
    friends::unblock(&far.app, ana.id, ben.id).await.expect("one's own block can be taken back");
    assert_eq!(
        refusal(writes(&near, &ana, &ben).await).code,
        Code::NotFriends,
        "what a block ended stays ended"
    );
    let rooms =
        stack.count("select count(*) from hubbub.room where kind = 'direct' and member_count = 2").await;
    assert_eq!(rooms, 1);
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn s49_a_stranger_a_block_oneself_and_nobody_get_one_answer() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben, eve) = (known(&node, "ana").await, known(&node, "ben").await, known(&node, "eve").await);
    let carl = known(&node, "carl").await;
    rooms::direct(&node.app, ana.id, ben.id).await.expect("two people have a room");
    friends::block(&node.app, ana.id, eve.id).await.expect("anybody may block");
    friends::block(&node.app, carl.id, ana.id).await.expect("anybody may block");
    let nobody = Account { id: AccountId(Uuid::new_v4()), ..ben.clone() };
    for other in [&ben, &eve, &carl, &nobody, &ana] {
        assert_eq!(refusal(writes(&node, &ana, other).await), policy::not_friends());
    }
    let asked_in_vain: Vec<Refusal> = [
        refusal(asks(&node, &ana, &nobody).await),
        refusal(asks(&node, &ana, &carl).await),
        refusal(asks(&node, &ana, &eve).await),
        refusal(friends::request(&node.app, ana.id, Whom::Name("carl".into())).await),
        refusal(friends::request(&node.app, ana.id, Whom::Name("nobody".into())).await),
    ]
    .into();
    assert!(asked_in_vain.iter().all(|refusal| *refusal == asked_in_vain[0]), "{asked_in_vain:?}");
    assert_eq!(stack.count("select count(*) from hubbub.friendship where state <> 'none'").await, 0);
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn a_block_ends_what_two_people_may_send_each_other_and_its_end_brings_it_back() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
    let room = rooms::direct(&near.app, ana.id, ben.id).await.expect("two people have a room");
    assert_eq!(rooms::direct(&far.app, ben.id, ana.id).await.expect("whoever asks"), room);
    near.says(&ben, room, "hello").await.expect("ben may write");
    friends::block(&far.app, ana.id, ben.id).await.expect("anybody may block");
    assert_eq!(code(near.says(&ben, room, "no").await), Some(Code::Forbidden));
    assert_eq!(code(near.says(&ana, room, "nor I").await), Some(Code::Forbidden));
    friends::block(&near.app, ben.id, ana.id).await.expect("both may");
    friends::unblock(&far.app, ana.id, ben.id).await.expect("one's own block can be taken back");
    assert_eq!(code(near.says(&ben, room, "no").await), Some(Code::Forbidden), "the other's stays");
    friends::unblock(&near.app, ben.id, ana.id).await.expect("one's own block can be taken back");
    near.says(&ben, room, "again").await.expect("nobody blocks");
    finish(stack, vec![near, far]).await;
}

/// Writes without pause until refused, which must be before anything is accepted after the answer.
async fn writes_until_refused(
    node: &Node,
    me: &Account,
    other: &Account,
    ended: &AtomicBool,
) -> Vec<Position> {
    let mut accepted = Vec::new();
    loop {
        let was_ended = ended.load(Ordering::SeqCst);
        match writes(node, me, other).await {
            Ok(position) => {
                assert!(!was_ended, "accepted after the end was answered");
                accepted.push(position);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::NotFriends, "{error}");
                return accepted;
            }
        }
    }
}

/// What ends it between two friends.
#[derive(Clone, Copy)]
enum End {
    Parting,
    Block,
}

/// Two friends write without pause at one node while one of them ends it at another.
async fn race(near: &Node, far: &Node, end: End) {
    let (ana, ben) = (known(near, "ana").await, known(near, "ben").await);
    become_friends(near, &ana, &ben).await;
    writes(near, &ana, &ben).await.expect("friends write");
    let ended = AtomicBool::new(false);
    let ends = async {
        match end {
            End::Block => friends::block(&far.app, ben.id, ana.id).await,
            End::Parting => friends::unfriend(&far.app, ben.id, ana.id).await,
        }
        .expect("anybody may");
        ended.store(true, Ordering::SeqCst);
    };
    let (first, second, ()) = tokio::join!(
        writes_until_refused(near, &ana, &ben, &ended),
        writes_until_refused(near, &ben, &ana, &ended),
        ends,
    );
    let room = RoomId::of_pair(ana.id, ben.id);
    let place = far
        .place_of(room, |event| {
            matches!(event, Event::MembershipChanged(change)
                if matches!(change.became, Became::Unfriended | Became::Blocking))
        })
        .await;
    assert!(first.iter().chain(&second).all(|accepted| *accepted < place), "{first:?} {second:?} {place}");
}

async fn races(rounds: usize) {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for round in 0..rounds {
        race(&near, &far, if round % 2 == 0 { End::Parting } else { End::Block }).await;
    }
    finish(stack, vec![near, far]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_behind_the_end_of_a_friendship() {
    races(ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a thousand races"]
async fn nothing_is_accepted_behind_a_thousand_ends() {
    races(1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_ask_each_other_at_once_are_friends() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for _ in 0..ROUNDS {
        let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
        let (one, other) = tokio::join!(asks(&near, &ana, &ben), asks(&far, &ben, &ana));
        let accepted =
            |outcome: Result<Outcome, Error>| matches!(outcome.expect("both may ask"), Outcome::Accepted(_));
        assert!(accepted(one) != accepted(other), "one of them was first, the other's was the answer");
        writes(&near, &ana, &ben).await.expect("friends write");
        writes(&far, &ben, &ana).await.expect("friends write");
    }
    let rooms = stack.count("select count(*) from hubbub.room where kind = 'direct'").await;
    assert_eq!(usize::try_from(rooms).expect("a count"), ROUNDS, "one room for each pair");
    finish(stack, vec![near, far]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_and_no_friendship_outlives_a_block_that_comes_at_the_same_moment() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for round in 0..ROUNDS {
        let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
        let blocks = friends::block(&far.app, ana.id, ben.id);
        if round % 2 == 0 {
            let (asked, blocked) = tokio::join!(asks(&near, &ben, &ana), blocks);
            blocked.expect("anybody may block");
            assert!(matches!(code(asked), None | Some(Code::NotFound)));
        } else {
            let Ok(Outcome::Pending(request)) = asks(&near, &ben, &ana).await else { panic!("the first") };
            let (accepted, blocked) = tokio::join!(friends::accept(&near.app, ana.id, request.id), blocks);
            blocked.expect("anybody may block");
            assert!(matches!(code(accepted), None | Some(Code::NotFound)));
        }
        assert_eq!(refusal(writes(&near, &ben, &ana).await), policy::not_friends());
        assert_eq!(refusal(writes(&far, &ana, &ben).await), policy::not_friends());
        assert!(!friendships::are_friends(&near.app.pool, ana.id, ben.id).await.expect("Postgres answers"));
    }
    assert_eq!(stack.count("select count(*) from hubbub.friendship where state <> 'none'").await, 0);
    finish(stack, vec![near, far]).await;
}

#[tokio::test]
async fn asking_again_completes_what_could_not_be_logged() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben) = (known(&node, "ana").await, known(&node, "ben").await);
    let Ok(Outcome::Pending(request)) = asks(&node, &ana, &ben).await else { panic!("the first") };
    // Committed and not logged, as a crash or an answer of 503 leaves it.
    friendships::accept(&node.app.pool, request.id, ben.id).await.expect("Postgres takes it");
    let room = RoomId::of_pair(ana.id, ben.id);
    let logged = async || {
        let (_, head) = node.app.log.head(room).await.expect("the log answers");
        head.map_or(0, |head| head.number)
    };
    assert_eq!(logged().await, 0);
    friends::accept(&node.app, ben.id, request.id).await.expect("again is no change");
    assert_eq!(logged().await, 1);
    friendships::end(&node.app.pool, ana.id, ben.id).await.expect("Postgres takes it");
    assert_eq!(logged().await, 1);
    friends::unfriend(&node.app, ana.id, ben.id).await.expect("again is no change");
    assert_eq!(logged().await, 2);
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn an_admin_makes_friends_of_two_whom_nobody_has_seen() {
    use shared::store::admin;
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let root = known(&node, "root").await;
    let [ana, ben] = [(); 2].map(|()| Account { id: AccountId(Uuid::new_v4()), ..root.clone() });
    let people = [ana.id, ben.id];
    let admin = admin::Admin { id: root.id, request: None };
    assert!(friends::befriend(&node.app, admin, people).await.expect("an admin may"));
    writes(&node, &ana, &ben).await.expect("friends write");
    friends::block(&node.app, ben.id, ana.id).await.expect("anybody may block");
    let against_a_block = friends::befriend(&node.app, admin, people).await.expect("Postgres answers");
    assert!(!against_a_block);
    assert_eq!(refusal(writes(&node, &ana, &ben).await).code, Code::NotFriends);
    finish(stack, vec![node]).await;
}

#[tokio::test]
async fn a_postgres_that_knows_less_than_the_log_changes_no_friendship_and_refuses_nobody() {
    let stack = stack().await;
    let node = Node::start(&stack).await;
    let (ana, ben) = (known(&node, "ana").await, known(&node, "ben").await);
    become_friends(&node, &ana, &ben).await;
    friends::unfriend(&node.app, ben.id, ana.id).await.expect("anybody may go");
    let Ok(Outcome::Pending(request)) = asks(&node, &ana, &ben).await else { panic!("asked anew") };
    stack.stored().await;
    for older in [
        "update hubbub.room set number = 1, restricting = 0 where kind = 'direct'",
        // From before they met.
        "delete from hubbub.room where kind = 'direct'",
    ] {
        stack.run(older).await;
        for outcome in [
            friends::unfriend(&node.app, ana.id, ben.id).await,
            friends::accept(&node.app, ben.id, request.id).await.map(drop),
            friends::seat_of_pair(&node.app, ana.id, ben.id).await.map(drop),
        ] {
            assert_eq!(code(outcome), Some(Code::Unavailable), "{older}");
        }
    }
    finish(stack, vec![node]).await;
}
