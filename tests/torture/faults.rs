//! Carries a schedule out, and notes when each fault really began and ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::board::Board;
use crate::schedule::{Fault, Network, Planned};
use crate::site::Site;

/// Between two cuts of a link that keeps being cut.
const CUT_EVERY: Duration = Duration::from_millis(400);

/// A fault as it happened.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) planned: Planned,
    pub(crate) began: Duration,
    /// When the harness had undone it; a server may still have to recover from then on.
    pub(crate) healed: Duration,
    /// Why it could not be had on this machine.
    pub(crate) left_out: Option<String>,
}

/// Runs the whole schedule; answers when the last fault is healed.
///
/// # Panics
/// When a fault could not be healed: nothing that is found after that says anything.
pub(crate) async fn run(site: &Arc<Site>, plan: &[Planned], board: &Arc<Board>) -> Vec<Done> {
    let mut under_way = JoinSet::new();
    for planned in plan.iter().copied() {
        let (site, board) = (site.clone(), board.clone());
        under_way.spawn_local(async move { happen(&site, planned, &board).await });
    }
    let mut done = under_way.join_all().await;
    done.sort_by_key(|done| done.planned.at);
    done
}

async fn happen(site: &Site, planned: Planned, board: &Board) -> Done {
    let began = tokio::time::Instant::from_std(board.began);
    sleep_until(began + planned.at).await;
    let began_at = board.now();
    let end = began + planned.at + planned.lasts;
    let left_out = match site.hurt(planned.fault).await {
        Ok(remedy) => {
            if let Fault::Link { network: Network::Cut, .. } = planned.fault {
                while tokio::time::Instant::now() + CUT_EVERY < end {
                    tokio::time::sleep(CUT_EVERY).await;
                    // Once more: whoever came back meanwhile is cut, too.
                    let _ = site.hurt(planned.fault).await;
                }
            }
            sleep_until(end).await;
            site.heal(remedy).await;
            None
        }
        Err(why) => Some(why),
    };
    Done { planned, began: began_at, healed: board.now(), left_out }
}
