//! What systemd or Kubernetes do elsewhere: a service that ends is started again. One that begins while a store is away ends
//! by itself and says so; any other end is a fault of ours.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Site;
use crate::board::Board;
use crate::schedule::Target;

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The last words of a service that may be started again.
const EXPECTED: &str = "can't start: unavailable";

impl Site {
    /// Starts again what ends, for ever.
    pub(crate) async fn supervise(&self, board: &Board) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.revive(board).await;
        }
    }

    async fn revive(&self, board: &Board) {
        let mut stack = self.stack.lock().await;
        for (role, number) in self.services() {
            let target = Target::Service(role, number);
            let process = stack.service(role, number).process();
            if self.down().contains(&target) || !process.has_ended() {
                continue;
            }
            let log = process.log();
            let last = log.lines().last().unwrap_or_default();
            if !last.contains(EXPECTED) {
                board.broken("no service ends by itself", format!("{target}: {last}"));
            }
            self.restarts.fetch_add(1, Ordering::Relaxed);
            process.restart();
        }
    }
}
