//! The people of a run at their work, room by room.

mod caller;
pub(crate) mod history;
pub(crate) mod liker;
pub(crate) mod marker;
pub(crate) mod reader;
pub(crate) mod sender;
mod talker;
pub(crate) mod watcher;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use harness::person::Person;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::board::{Board, HOME_WITHIN};
use crate::check::{Evidence, OfRoom};
use crate::faults::Done;
use crate::guests::{Guest, Guests};
use crate::rng::Rng;
use crate::room::Room;
pub(crate) use caller::{Answered, Caller};
use liker::Liked;
use marker::Marked;
use reader::Reads;
use sender::Sent;
use watcher::{Growing, Watcher};

/// Of all messages, friends write one in so many.
const FRIENDS_SHARE: u32 = 6;
/// How long somebody may take to notice that time is up.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// What everybody needs to know of the run.
pub(crate) struct Terms {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Messages a second, of all together.
    pub(crate) rate: u32,
    pub(crate) board: Arc<Board>,
}

/// Everybody.
pub(crate) struct People {
    rooms: Vec<Company>,
    liking: Vec<(Uuid, JoinHandle<Liked>)>,
    reading: JoinHandle<Reads>,
}

/// Those who are in one room.
struct Company {
    room: Arc<Room>,
    sending: Vec<(String, oneshot::Receiver<Vec<Sent>>)>,
    listeners: Vec<Growing>,
    /// They listen until the end.
    listening: Vec<JoinHandle<()>>,
    marking: Vec<(Person, JoinHandle<Marked>)>,
    readers: Vec<Caller>,
}

impl Terms {
    /// Somebody who draws from a stream of their own for each of their works.
    fn caller(&self, guest: &Guest, work: &str) -> Caller {
        let rng = Rng::named(self.seed, &format!("{} {work}", guest.person.name));
        Caller::new(guest, self.nodes, rng, self.board.clone())
    }

    /// Between two messages of one of so many writers, who together have `part` of `whole` parts of the rate.
    fn pace(&self, writers: usize, part: u32, whole: u32) -> Duration {
        let writers = u32::try_from(writers).unwrap_or(u32::MAX);
        Duration::from_secs(1) * writers * whole / (self.rate * part)
    }
}

impl People {
    pub(crate) fn begin(guests: &Guests, terms: &Terms) -> People {
        let reader = terms.caller(&guests.reader, "reads");
        let like = |guest: &Guest| {
            (account(&guest.person), tokio::spawn(liker::likes(terms.caller(guest, "likes"))))
        };
        let friends_pace = terms.pace(2 * guests.pairs.len(), 1, FRIENDS_SHARE);
        let pairs = guests.pairs.iter().map(|pair| Company::of_friends(pair, friends_pace, terms));
        People {
            rooms: [Company::of_live(guests, terms)].into_iter().chain(pairs).collect(),
            liking: guests.likers.iter().map(like).collect(),
            reading: tokio::spawn(reader::reads(reader)),
        }
    }

    /// Waits until everybody has brought to an end what was under way. Those who listen go on, as long as the tasks do.
    pub(crate) async fn come_home(
        self,
        faults: Vec<Done>,
        board: &Board,
    ) -> (Evidence, Vec<JoinHandle<()>>, Reads) {
        let deadline = Instant::now() + HOME_WITHIN + NOTICED_WITHIN;
        let (mut rooms, mut listening) = (Vec::new(), Vec::new());
        for company in self.rooms {
            let (of_room, tasks) = company.come_home(deadline, board).await;
            rooms.push(of_room);
            listening.extend(tasks);
        }
        let mut liked = Vec::new();
        for (person, task) in self.liking {
            let left = timeout_at(deadline, task).await;
            liked.extend(
                noted(left, "every like is answered in the end", &person, board).map(|left| (person, left)),
            );
        }
        let reads = timeout_at(deadline, self.reading).await;
        let reads =
            noted(reads, "every read is answered in the end", &"the reader", board).unwrap_or_default();
        (Evidence { rooms, liked, faults }, listening, reads)
    }
}

impl Company {
    fn new(room: Arc<Room>) -> Company {
        Company {
            room,
            sending: Vec::new(),
            listeners: Vec::new(),
            listening: Vec::new(),
            marking: Vec::new(),
            readers: Vec::new(),
        }
    }

    /// The live chat, in which all talk to all.
    fn of_live(guests: &Guests, terms: &Terms) -> Company {
        let mut company = Company::new(guests.live.clone());
        let writers = guests.senders.len() + guests.talkers.len();
        let pace = terms.pace(writers, FRIENDS_SHARE - 1, FRIENDS_SHARE);
        guests.watchers.iter().for_each(|guest| company.watches(terms.caller(guest, "watches")));
        guests.talkers.iter().for_each(|guest| company.talks(terms.caller(guest, "talks"), pace));
        guests.senders.iter().for_each(|guest| company.sends(terms.caller(guest, "sends"), pace));
        company.readers.push(terms.caller(&guests.reader, "compares"));
        company
    }

    /// Two friends: one writes over REST, listens beside that and marks what the other wrote, the other writes over the socket.
    fn of_friends(pair: &[Guest; 2], pace: Duration, terms: &Terms) -> Company {
        let [one, other] = pair;
        let mut company = Company::new(one.room.clone());
        company.sends(terms.caller(one, "sends"), pace);
        company.watches(terms.caller(one, "watches"));
        company.talks(terms.caller(other, "talks"), pace);
        company.marks(terms.caller(one, "marks"));
        company.readers.extend(pair.iter().map(|guest| terms.caller(guest, "compares")));
        company
    }

    fn sends(&mut self, caller: Caller, pace: Duration) {
        let (done, sent) = oneshot::channel();
        self.sending.push((caller.person.name.clone(), sent));
        tokio::spawn(sender::sends(caller, pace, done));
    }

    fn talks(&mut self, caller: Caller, pace: Duration) {
        let (done, sent) = oneshot::channel();
        self.sending.push((caller.person.name.clone(), sent));
        let watcher = self.listener(caller);
        self.listening.push(tokio::spawn(talker::talks(watcher, pace, done)));
    }

    fn watches(&mut self, caller: Caller) {
        let watcher = self.listener(caller);
        self.listening.push(tokio::spawn(watcher.watches()));
    }

    fn listener(&mut self, caller: Caller) -> Watcher {
        let watcher = Watcher::new(caller);
        self.listeners.push(watcher.record.clone());
        watcher
    }

    fn marks(&mut self, caller: Caller) {
        self.marking.push((caller.person.clone(), tokio::spawn(marker::marks(caller))));
    }

    async fn come_home(self, deadline: Instant, board: &Board) -> (OfRoom, Vec<JoinHandle<()>>) {
        let (mut sent, mut marked) = (Vec::new(), Vec::new());
        for (name, messages) in self.sending {
            let messages = timeout_at(deadline, messages).await;
            sent.extend(noted(messages, "everything sent is answered in the end", &name, board));
        }
        for (person, task) in self.marking {
            let marks = timeout_at(deadline, task).await;
            let marks = noted(marks, "every mark is answered in the end", &person.name, board);
            marked.extend(marks.map(|marks| (account(&person), marks)));
        }
        let Company { room, listeners, readers, listening, .. } = self;
        (OfRoom { room, sent, listeners, marked, readers }, listening)
    }
}

/// What somebody brought home; that it did not come is noted.
fn noted<T, E: Debug, L: Debug>(
    brought: Result<Result<T, E>, L>,
    promise: &'static str,
    who: &dyn Debug,
    board: &Board,
) -> Option<T> {
    match brought {
        Ok(Ok(brought)) => return Some(brought),
        Ok(Err(error)) => board.broken(promise, format!("{who:?}: {error:?}")),
        Err(late) => board.broken(promise, format!("{who:?}: {late:?}")),
    }
    None
}

fn account(person: &Person) -> Uuid {
    person.id().parse().expect("an account's id is a UUID")
}
