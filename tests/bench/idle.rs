//! What a connection at rest costs in memory: how much the processes that hold the sockets grow by. The first connections
//! are left out, since they also pay for what a process needs once.

use std::io;
use std::time::Duration;

use harness::children::eventually;

use crate::crowd::Crowd;
use crate::machine::resident_bytes;
use crate::report::Idle;
use crate::target::Target;

/// Connections that a process has seen before it is weighed.
const FIRST: usize = 200;
/// Memory counts as settled when it moved by less between two looks.
const STILL_BYTES: u64 = 64 * 1_024;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long it may go on moving.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// Opens `connections` sockets beside the first ones and answers what they took.
///
/// # Errors
/// When a socket is refused.
pub(crate) async fn measure(target: &Target, connections: usize) -> io::Result<Idle> {
    // Other people than those who will watch, so that these pay for themselves.
    let first = Crowd::gather(target, 0..FIRST).await?;
    let before_bytes = settled(target).await;
    let crowd = Crowd::gather(target, FIRST..FIRST + connections).await?;
    let after_bytes = settled(target).await;
    if first.closed() + crowd.closed() > 0 {
        return Err(io::Error::other("the server closed sockets that were at rest"));
    }
    let bytes_per_connection = after_bytes.saturating_sub(before_bytes) / connections as u64;
    Ok(Idle { connections, before_bytes, after_bytes, bytes_per_connection })
}

/// Memory of all holders once it has settled, or after some time in any case.
async fn settled(target: &Target) -> u64 {
    let weigh = || target.holders.iter().map(|process| resident_bytes(process.pid)).sum::<u64>();
    let mut last = 0;
    let still = eventually(SETTLE_WITHIN, async || {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = weigh();
        let moved = now.abs_diff(last);
        last = now;
        (moved < STILL_BYTES).then_some(now)
    });
    still.await.unwrap_or_else(weigh)
}
