//! Who watches a live room. Presence itself is a lease on the bus; here is what the rest of the node asks of it.

use shared::Error;
use shared::bus::SIGHTING_TTL;
use shared::id::{AccountId, RoomId};

use crate::app::App;

/// Notes that a person asked for something of the room over REST, which counts as watching for five minutes; answers how
/// many watch. While the bus is away nobody is counted, and nothing else suffers.
pub(crate) async fn seen(app: &App, room: RoomId, person: AccountId) -> Result<u64, Error> {
    let watching = app.bus.viewer_seen(room, person).await?;
    app.hub.watch.sighted(room, person, SIGHTING_TTL);
    Ok(watching.people)
}
