//! More is sent than can be taken: what is too much gets a code and a time to come back, and what was accepted is kept.

use futures_util::future::join_all;
use harness::children::{PATIENCE, eventually};
use harness::http::Answer;
use harness::load::{Listener, Said};
use harness::person::{Node, Person};
use harness::stack::{Role, Stack};
use uuid::Uuid;

/// A message and whoever wants to say it, under one name until it is accepted.
struct Wish {
    person: Person,
    text: String,
    nonce: String,
}

impl Wish {
    /// `each` messages of every person, at the nodes in turn.
    fn of_all(people: &[Person], nodes: usize, each: usize) -> Vec<Vec<Wish>> {
        let of = |(index, person): (usize, &Person)| {
            let wish = |number: usize| Wish {
                person: person.at(Node(1 + (index + number) % nodes)),
                text: format!("{} {number}", person.name),
                nonce: Uuid::now_v7().to_string(),
            };
            (0..each).map(wish).collect()
        };
        people.iter().enumerate().map(of).collect()
    }

    /// Says it once.
    async fn try_once(&self) -> Result<Said, Answer> {
        let answer = self.person.tries_to_say(&self.text, Some(&self.nonce)).await.expect("the node answers");
        if answer.status == 200 {
            Ok(Said { text: self.text.clone(), ..Said::of(&answer.body) })
        } else {
            Err(answer)
        }
    }

    /// Says it again until it is accepted.
    async fn insist(&self) -> Said {
        let said = eventually(PATIENCE, async || self.try_once().await.ok()).await;
        said.unwrap_or_else(|| panic!("{} is never accepted", self.text))
    }
}

/// A refusal that a client can act upon: it knows that nothing was done, and when to come back.
fn is_told_to_wait(answer: &Answer) {
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("overloaded")), "{answer:?}");
    let seconds = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer:?}");
    assert!(answer.body["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{answer:?}");
}

async fn people(stack: &Stack, count: usize) -> Vec<Person> {
    let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
    join_all(names.iter().map(|name| stack.person(name))).await
}

/// All rows are what was accepted, and whoever listened heard the same.
async fn is_kept(stack: &Stack, mut accepted: Vec<Said>, listener: Listener) {
    accepted.sort();
    stack.stored().await;
    assert_eq!(stack.said().await, accepted);
    let heard = listener.until(accepted.last().expect("messages")).await;
    assert_eq!(heard.messages, accepted, "in order, each once");
    assert_eq!(heard.resyncs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stored_is_refused_with_a_code_and_what_was_accepted_is_kept() {
    const CAP: usize = 300;
    let mut stack = Stack::builder().nodes(2).var("LOG_MAX_ENTRIES", &CAP.to_string()).start().await;
    let people = people(&stack, 40).await;
    let listener = Listener::start(&people[0], &[1, 2]).await;
    stack.stop(Role::Persister, 1).await;

    let wishes = Wish::of_all(&people, 2, 25);
    let tries = wishes.iter().map(async |wishes| {
        let mut tried = Vec::new();
        for wish in wishes {
            tried.push((wish, wish.try_once().await));
        }
        tried
    });
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (wish, outcome) in join_all(tries).await.into_iter().flatten() {
        match outcome {
            Ok(said) => accepted.push(said),
            Err(answer) => {
                is_told_to_wait(&answer);
                refused.push(wish);
            }
        }
    }
    assert_eq!(accepted.len() + refused.len(), 1_000);
    // Heartbeats of viewers take a few places, and no more than half.
    assert!((CAP / 2..=CAP).contains(&accepted.len()), "{} were accepted, {CAP} have room", accepted.len());

    stack.add(Role::Persister).await;
    stack.ready().await;
    for wish in refused {
        accepted.push(wish.insist().await);
    }
    is_kept(&stack, accepted, listener).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_has_under_way_is_bounded_and_the_rest_is_refused_at_once() {
    const PLACES: usize = 4;
    let mut stack = Stack::builder().var("LIMIT_APPENDS_IN_FLIGHT", &PLACES.to_string()).start().await;
    let people = people(&stack, 5).await;
    let listener = Listener::start(&people[0], &[1]).await;
    let mut accepted = vec![Wish::of_all(&people[..1], 1, 1)[0][0].insist().await];
    stack.servers.log.pause();
    let wishes: Vec<Wish> =
        Wish::of_all(&people, 1, 6).into_iter().flat_map(|wishes| wishes.into_iter().skip(1)).collect();
    let answers = join_all(wishes.iter().map(Wish::try_once)).await;
    stack.servers.log.resume();
    let answers: Vec<Answer> =
        answers.into_iter().map(|answer| answer.expect_err("the log stands still")).collect();
    let (unknown, busy): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.body["code"] == "unavailable");
    assert_eq!(unknown.len(), PLACES, "so many waited for the log; {answers:?}");
    busy.into_iter().for_each(is_told_to_wait);

    for wish in &wishes {
        accepted.push(wish.insist().await);
    }
    is_kept(&stack, accepted, listener).await;
    stack.finish().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_with_a_code() {
    let mut stack = Stack::builder().var("LIMIT_REQUEST_SECS", "1").start().await;
    let people = people(&stack, 1).await;
    let listener = Listener::start(&people[0], &[1]).await;
    let wish = &Wish::of_all(&people, 1, 1)[0][0];
    stack.servers.log.pause();
    let given_up = wish.try_once().await.expect_err("the log stands still");
    stack.servers.log.resume();
    given_up.refused(503, "unavailable");
    let accepted = vec![wish.insist().await];
    is_kept(&stack, accepted, listener).await;
    stack.finish().await;
}
