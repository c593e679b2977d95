//! Pairs at the peer: what the socket with one number says goes to the other of its pair, and back to itself as the
//! acknowledgement. Nothing is checked, ordered or kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::BEHIND_MAX;

/// The sockets that have a number.
#[derive(Clone, Default)]
pub(super) struct Couples(Arc<Mutex<HashMap<usize, mpsc::Sender<Utf8Bytes>>>>);

impl Couples {
    /// Takes a seat: what is for it comes out of the answer.
    pub(super) fn sit_down(&self, number: usize) -> mpsc::Receiver<Utf8Bytes> {
        let (frames, inbox) = mpsc::channel(BEHIND_MAX);
        self.lock().insert(number, frames);
        inbox
    }

    /// Who is too far behind loses it, as with the broadcast.
    pub(super) fn say(&self, number: usize, frame: &Utf8Bytes) {
        let seats = self.lock();
        for frames in [number ^ 1, number].iter().filter_map(|number| seats.get(number)) {
            let _ = frames.try_send(frame.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, mpsc::Sender<Utf8Bytes>>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}
