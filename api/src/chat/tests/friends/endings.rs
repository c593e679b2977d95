//! Whoever ends it and is answered is no friend any more, whatever the other was about to accept.

use harness::children::{PATIENCE, eventually};
use harness::stack::Stack;
use shared::store::admin::Admin;

use super::*;

/// Neither may write to the other, on any node.
async fn are_apart(nodes: [&Node; 2], ana: &Account, ben: &Account) {
    for node in nodes {
        assert_eq!(refusal(writes(node, ana, ben).await), policy::not_friends());
        assert_eq!(refusal(writes(node, ben, ana).await), policy::not_friends());
    }
    assert!(!friendships::are_friends(&nodes[0].app.pool, ana.id, ben.id).await.expect("Postgres answers"));
}

/// Waits until somebody who takes a request back waits for who accepts it.
async fn waits_for_the_other(stack: &Stack) {
    let waiting = eventually(PATIENCE, async || {
        let waiting = stack.count(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'
               and query like 'update hubbub.friendship set state = ''none''%'",
        );
        (waiting.await == 1).then_some(())
    });
    waiting.await.expect("the end meets the acceptance");
}

#[derive(Clone, Copy, Debug)]
enum By {
    TheAsker,
    AnAdmin,
}

async fn end(node: &Node, by: By, ana: &Account, ben: &Account) -> Result<(), Error> {
    match by {
        By::TheAsker => friends::unfriend(&node.app, ana.id, ben.id).await,
        By::AnAdmin => {
            let admin = Admin { id: ben.id, request: None };
            friends::part(&node.app, admin, [ana.id, ben.id]).await
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_meets_the_first_acceptance_half_done_ends_it() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for by in [By::TheAsker, By::AnAdmin] {
        let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
        let Ok(Outcome::Pending(request)) = asks(&near, &ana, &ben).await else { panic!("the first") };
        stack.stored().await;
        // Has the acceptance wait when it has made the room and taken the request, and before all of that is seen.
        let mut wall = stack.wall_before_changes().await;
        let accepts = friends::accept(&near.app, ben.id, request.id);
        let ends = async {
            wall.stops_somebody().await;
            let falls = async {
                waits_for_the_other(&stack).await;
                wall.falls().await;
            };
            tokio::join!(end(&far, by, &ana, &ben), falls).0
        };
        let (accepted, ended) = tokio::join!(accepts, ends);
        accepted.expect("it came first");
        ended.expect("what is not there is no error");
        are_apart([&near, &far], &ana, &ben).await;
    }
    finish(stack, vec![near, far]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_friendship_outlives_an_end_that_comes_at_the_same_moment() {
    let stack = stack().await;
    let (near, far) = (Node::start(&stack).await, Node::start(&stack).await);
    for _ in 0..ROUNDS {
        let (ana, ben) = (known(&near, "ana").await, known(&near, "ben").await);
        let Ok(Outcome::Pending(request)) = asks(&near, &ana, &ben).await else { panic!("the first") };
        let (accepted, ended) = tokio::join!(
            friends::accept(&near.app, ben.id, request.id),
            friends::unfriend(&far.app, ana.id, ben.id)
        );
        ended.expect("anybody may go");
        assert!(matches!(code(accepted), None | Some(Code::NotFound)));
        are_apart([&near, &far], &ana, &ben).await;
    }
    finish(stack, vec![near, far]).await;
}
