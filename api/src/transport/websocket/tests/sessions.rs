//! What a session may rely on: one handler at a time, none cut short, told once of the end.

use super::{Client, PING, PONG, Served, TEXT, connect, connect_echo, masked, within};
use crate::hub::outbox::{CLOSE_WITHIN, CloseReason};
use crate::transport::websocket::connection::{Session, Timing};
use crate::transport::websocket::frame::text_frame;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Notes what it is told, and takes its time: each message needs a permit.
struct Diary {
    entries: Arc<Mutex<Vec<String>>>,
    permits: Arc<Semaphore>,
}

impl Session for Diary {
    async fn on_text(&mut self, text: &str) {
        self.note(format!("begin {text}"));
        self.permits.acquire().await.unwrap().forget();
        assert_ne!(text, "bug", "this handler was asked to panic");
        self.note(format!("end {text}"));
    }

    async fn on_binary(&mut self, _: &[u8]) {}

    async fn on_close(&mut self, reason: CloseReason) {
        self.note(format!("closed {}", reason.name()));
    }
}

impl Diary {
    fn note(&self, entry: String) {
        self.entries.lock().unwrap().push(entry);
    }
}

type Entries = Arc<Mutex<Vec<String>>>;

async fn connect_diary() -> (Client, Served, Entries, Arc<Semaphore>) {
    let (entries, permits) = (Entries::default(), Arc::new(Semaphore::new(0)));
    let diary = Diary { entries: entries.clone(), permits: permits.clone() };
    let (client, served) = connect(Timing::default(), |_| diary).await;
    (client, served, entries, permits)
}

async fn until(fact: &str, entries: &Entries, holds: impl Fn(&[String]) -> bool) {
    within(fact, async {
        while !holds(&entries.lock().unwrap()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn while_a_handler_runs_its_client_waits_but_still_hears() {
    let (mut client, served, entries, permits) = connect_diary().await;
    client.write(&[masked(TEXT, b"1"), masked(TEXT, b"2"), masked(PING, b"later")].concat()).await;
    until("the first handler begins", &entries, |entries| entries.len() == 1).await;
    let large = vec![b'x'; 900_000];
    served.outbox.send(text_frame(&large));
    assert_eq!(client.hears().await, (TEXT, large), "a queue is emptied beside the handler");
    assert_eq!(*entries.lock().unwrap(), ["begin 1"]);
    permits.add_permits(2);
    assert_eq!(client.hears().await, (PONG, b"later".to_vec()));
    assert_eq!(*entries.lock().unwrap(), ["begin 1", "end 1", "begin 2", "end 2"]);
}

#[tokio::test]
async fn a_close_during_a_handler_frees_the_socket_and_lets_the_handler_finish() {
    let (mut client, served, entries, permits) = connect_diary().await;
    client.write(&[masked(TEXT, b"1"), masked(TEXT, b"2")].concat()).await;
    until("the first handler begins", &entries, |entries| entries.len() == 1).await;
    served.outbox.close(CloseReason::Expired);
    assert_eq!(client.hears_close().await, 4401);
    client.hears_the_end().await;
    assert_eq!(served.socket.strong_count(), 0, "freed although the handler still runs");
    permits.add_permits(2);
    assert_eq!(served.ended().await, CloseReason::Expired);
    assert_eq!(
        *entries.lock().unwrap(),
        ["begin 1", "end 1", "closed expired"],
        "what came later is not handled"
    );
}

#[tokio::test]
async fn s44_a_panic_in_a_handler_costs_its_connection_alone() {
    let (mut client, served, entries, permits) = connect_diary().await;
    permits.add_permits(1);
    client.say(TEXT, b"bug").await;
    assert_eq!(client.hears_close().await, 1011);
    client.close(1011).await;
    assert_eq!(served.ended().await, CloseReason::Internal);
    assert_eq!(*entries.lock().unwrap(), ["begin bug", "closed internal"]);
}

#[tokio::test]
async fn our_close_is_told_to_the_session_at_once_and_waits_for_the_clients_answer() {
    let (mut client, served, entries, _) = connect_diary().await;
    served.outbox.close(CloseReason::Drain);
    assert_eq!(client.hears_close().await, 1012);
    until("the session knows", &entries, |entries| entries == ["closed drain"]).await;
    assert!(!served.task.is_finished(), "the answer is not here yet");
    let asked = Instant::now();
    client.say(TEXT, b"crossing the close").await;
    client.close(1012).await;
    assert_eq!(served.ended().await, CloseReason::Drain);
    assert!(asked.elapsed() < CLOSE_WITHIN);
    client.hears_the_end().await;
}

#[tokio::test]
async fn our_close_does_not_wait_for_ever() {
    let (mut client, served) = connect_echo().await;
    let asked = Instant::now();
    served.outbox.close(CloseReason::NotFound);
    assert_eq!(client.hears_close().await, 4404);
    assert_eq!(served.ended().await, CloseReason::NotFound);
    assert!(asked.elapsed() >= CLOSE_WITHIN && asked.elapsed() < CLOSE_WITHIN * 2);
}
