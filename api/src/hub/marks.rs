//! What has reached the people it was for. A message counts as delivered when the kernel has taken the last byte of its
//! frame for some socket of its receiver. One mark per room and person, the larger wins; it is written once a second at most, and
//! then the author's sockets that asked to know are told: by the one node that moved the mark, and never of what a history would
//! not show yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::bus::Word;
use shared::id::{AccountId, MessageId, Position, RoomId};
use shared::shutdown::Shutdown;
use shared::store::direct;

use super::outbox::Outbox;
use super::{Connection, people};
use crate::app::Shared;
use crate::chat::{Happened, Happening};

/// At most so often a mark is moved.
const EVERY: Duration = Duration::from_secs(1);
/// When the node goes, marks whose rows somebody else has locked are tried so often, and so far apart.
const LAST_TRIES: u32 = 5;
const LAST_TRY_EVERY: Duration = Duration::from_millis(20);

/// Messages on their way to sockets.
#[derive(Default)]
pub(crate) struct Marks(Mutex<HashMap<Whose, Vec<Delivery>>>);

/// A room, and the person in it whose sockets are written to.
type Whose = (RoomId, AccountId);

/// The furthest message of each that has arrived and is not saved. While Postgres is away, what has arrived waits here.
type Unsaved = HashMap<Whose, Letter>;

/// A message that was handed to a socket.
#[derive(Clone)]
struct Delivery {
    letter: Letter,
    outbox: Arc<Outbox>,
    /// When the socket has written up to here, the message has arrived.
    place: u64,
}

#[derive(Clone, Copy)]
struct Letter {
    position: Position,
    message: MessageId,
    author: AccountId,
}

impl Marks {
    /// Notes the last message among `events` that is for somebody else than its author; the socket takes them up to `place`.
    pub(super) fn note(&self, connection: &Connection, events: &[Arc<Happened>], place: u64) {
        let reader = connection.account.id;
        let last = events.iter().rev().find_map(|event| match &event.what {
            Happening::MessagePosted(message) if message.author.id != reader && message.text.is_some() => {
                Some((event.room, message))
            }
            _ => None,
        });
        let Some((room, message)) = last else { return };
        let letter = Letter { position: message.position, message: message.id, author: message.author.id };
        let delivery = Delivery { letter, outbox: connection.outbox.clone(), place };
        self.lock().entry((room, reader)).or_default().push(delivery);
    }

    /// The furthest message of each room and person that has arrived since the last time.
    fn take_arrived(&self) -> Vec<(Whose, Letter)> {
        let mut arrived = Vec::new();
        self.lock().retain(|whose, deliveries| {
            let mut furthest: Option<Letter> = None;
            deliveries.retain(|delivery| match delivery.outbox.has_written(delivery.place) {
                Some(true) => {
                    let letter = delivery.letter;
                    if furthest.is_none_or(|known| known.position < letter.position) {
                        furthest = Some(letter);
                    }
                    false
                }
                Some(false) => true,
                None => false,
            });
            arrived.extend(furthest.map(|letter| (*whose, letter)));
            !deliveries.is_empty()
        });
        arrived
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Whose, Vec<Delivery>>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// Runs until `stop`, and once more then.
pub(crate) async fn run(app: Shared, stop: Shutdown) {
    let mut unsaved = Unsaved::new();
    loop {
        let stopped = tokio::time::timeout(EVERY, stop.wait()).await.is_ok();
        for (whose, letter) in app.hub.marks.take_arrived() {
            let furthest = unsaved.entry(whose).or_insert(letter);
            if furthest.position < letter.position {
                *furthest = letter;
            }
        }
        save(&app, &mut unsaved).await;
        if stopped {
            return save_what_is_left(&app, &mut unsaved).await;
        }
    }
}

/// Notes what has arrived and tells the authors of it. What can't be noted now stays, and is told when it is.
async fn save(app: &Shared, unsaved: &mut Unsaved) {
    if unsaved.is_empty() {
        return;
    }
    let marks: Vec<_> =
        unsaved.iter().map(|((room, reader), letter)| (*room, *reader, letter.position)).collect();
    match direct::note_delivered(&app.pool, &marks).await {
        Ok(noted) => {
            let moved = noted.moved.iter().filter_map(|whose| Some((*whose, *unsaved.get(whose)?))).collect();
            unsaved.retain(|whose, _| noted.left.contains(whose));
            tell_authors(app, moved).await;
        }
        Err(error) => tracing::debug!(%error, "what has arrived can't be noted now"),
    }
}

/// The node goes, and with it what it knows.
async fn save_what_is_left(app: &Shared, unsaved: &mut Unsaved) {
    for _ in 0..LAST_TRIES {
        if unsaved.is_empty() {
            return;
        }
        tokio::time::sleep(LAST_TRY_EVERY).await;
        save(app, unsaved).await;
    }
}

async fn tell_authors(app: &Shared, arrived: Vec<(Whose, Letter)>) {
    let words: Vec<(AccountId, Word)> = arrived
        .into_iter()
        .map(|((room, by), Letter { position, message, author })| {
            (author, Word::Delivered { room, position, message, by })
        })
        .collect();
    if let Err(error) = people::tell(app, &words).await {
        tracing::debug!(%error, "authors can't be told what has arrived");
    }
}
