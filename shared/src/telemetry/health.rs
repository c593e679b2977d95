//! What the balancer is told. Draining is final: a process that said goodbye does not come back.

use std::sync::{Arc, Mutex};

/// Whether this process wants new clients. Clones share the answer; it is broken ("starting") until said otherwise.
#[derive(Clone)]
pub struct Health(Arc<Mutex<State>>);

enum State {
    Ready,
    Draining,
    Broken(String),
}

impl Default for Health {
    fn default() -> Health {
        Health(Arc::new(Mutex::new(State::Broken("starting".to_owned()))))
    }
}

impl Health {
    /// Not ready yet.
    pub fn new() -> Health {
        Health::default()
    }

    /// Serves clients.
    pub fn set_ready(&self) {
        self.set(State::Ready);
    }

    /// Keeps the clients it has and wants no more.
    pub fn set_draining(&self) {
        self.set(State::Draining);
    }

    /// Cannot serve, and why, in words for an operator.
    pub fn set_broken(&self, reason: &str) {
        self.set(State::Broken(reason.to_owned()));
    }

    /// What /readyz answers: status and body.
    pub fn state(&self) -> (u16, String) {
        match &*self.lock() {
            State::Ready => (200, "ready".to_owned()),
            State::Draining => (404, "draining".to_owned()),
            State::Broken(reason) => (503, format!("broken: {reason}")),
        }
    }

    fn set(&self, next: State) {
        let mut state = self.lock();
        if !matches!(*state, State::Draining) {
            *state = next;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing under this lock can panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_is_final() {
        let health = Health::new();
        assert_eq!(health.state(), (503, "broken: starting".to_owned()));
        health.set_ready();
        assert_eq!(health.state(), (200, "ready".to_owned()));
        health.set_broken("no log");
        assert_eq!(health.state(), (503, "broken: no log".to_owned()));
        health.set_draining();
        health.set_ready();
        health.set_broken("no log");
        assert_eq!(health.state(), (404, "draining".to_owned()));
    }
}
