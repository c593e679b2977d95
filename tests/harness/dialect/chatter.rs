//! Somebody under whom nodes may come and go: each message is sent under one nonce until it is accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Spoken, Talker};
use crate::children::PATIENCE;

/// Pause before somebody whose node failed turns to the next one, and between two messages.
const PAUSE: Duration = Duration::from_millis(15);

/// Somebody who goes on talking.
pub struct Chatter {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Spoken>>,
}

impl Talker {
    /// Goes on talking; while a node fails, the next of `nodes` is tried.
    pub fn goes_on(&self, nodes: &[usize]) -> Chatter {
        let stop = Arc::new(AtomicBool::new(false));
        let (talker, nodes, told) = (self.clone(), nodes.to_vec(), stop.clone());
        let task = tokio::spawn(async move {
            let (mut accepted, mut turn) = (Vec::new(), 0);
            while !told.load(Ordering::Relaxed) {
                let text = format!("{} {}", talker.person.name, accepted.len());
                accepted.push(talker.sends_until_accepted(&nodes, &mut turn, &text).await);
                tokio::time::sleep(PAUSE).await;
            }
            accepted
        });
        Chatter { stop, task }
    }

    async fn sends_until_accepted(&self, nodes: &[usize], turn: &mut usize, text: &str) -> Spoken {
        let nonce = Uuid::now_v7().to_string();
        loop {
            let node = nodes[*turn % nodes.len()];
            match self.at(node).attempts(text, Some(&nonce)).await {
                Some(Ok(spoken)) => return spoken,
                Some(Err(answer)) => assert!(matches!(answer.status, 429 | 503 | 404), "{answer:?}"),
                None => {}
            }
            *turn += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Chatter {
    /// Stops once what is under way is accepted; answers everything that was.
    ///
    /// # Panics
    /// When a message was refused, or is not accepted in a long time.
    pub async fn stops(self) -> Vec<Spoken> {
        self.stop.store(true, Ordering::Relaxed);
        let done = tokio::time::timeout(PATIENCE, self.task).await;
        done.expect("the last message is accepted").expect("nobody who talks fails")
    }
}
