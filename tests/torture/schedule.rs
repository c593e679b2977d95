//! What goes wrong, when, and where: drawn from the seed alone, so that the same seed repeats the same schedule.

use std::fmt;
use std::time::Duration;

use harness::stack::Role;

use crate::rng::{Deck, Rng};

/// A server that services keep something in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Store {
    Log,
    Bus,
    Postgres,
}

/// A process that can be hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One of ours, by its number from 1.
    Service(Role, usize),
    Store(Store),
}

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Slow,
    Silent,
    Refusing,
    Cut,
    LosingAnswers,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9, and a start afterwards.
    Kill(Target),
    /// SIGSTOP past the lease, then SIGCONT.
    Pause(Target),
    /// Between one of our processes and a server.
    Link { from: Target, to: Store, network: Network },
    /// The wall clock of one api node jumps back by this.
    ClockBack { node: usize, secs: u64 },
    /// Each fdatasync of the log takes so much longer.
    SlowDisk { millis: u64 },
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Since the load began.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) api: usize,
    pub(crate) fanout: usize,
    pub(crate) persister: usize,
}

impl Shape {
    pub(crate) fn of(self, role: Role) -> usize {
        match role {
            Role::Api => self.api,
            Role::FanoutWorker => self.fanout,
            Role::Persister => self.persister,
        }
    }
}

/// What a role talks to.
pub(crate) fn stores_of(role: Role) -> &'static [Store] {
    match role {
        Role::Api => &[Store::Log, Store::Bus, Store::Postgres],
        Role::FanoutWorker => &[Store::Log, Store::Bus],
        Role::Persister => &[Store::Log, Store::Postgres],
    }
}

#[derive(Clone, Copy)]
enum Family {
    Kill,
    Pause,
    Link,
    Clock,
    Disk,
}

/// Twelve faults, a minute or so: a third of them in the network, because it has most places to fail.
const FAMILIES: [Family; 12] = {
    use Family::{Clock, Disk, Kill, Link, Pause};
    [Kill, Kill, Kill, Pause, Pause, Pause, Link, Link, Link, Link, Clock, Disk]
};

/// A kind of process; which of its number is drawn apart.
#[derive(Clone, Copy)]
enum Kind {
    Service(Role),
    Store(Store),
}

const KINDS: [Kind; 6] = [
    Kind::Service(Role::Api),
    Kind::Service(Role::FanoutWorker),
    Kind::Service(Role::Persister),
    Kind::Store(Store::Log),
    Kind::Store(Store::Bus),
    Kind::Store(Store::Postgres),
];

const NETWORKS: [Network; 5] =
    [Network::Slow, Network::Silent, Network::Refusing, Network::Cut, Network::LosingAnswers];

/// Longer than the lease of three seconds.
const PAUSE_MS: std::ops::Range<u64> = 3_500..5_000;
const DOWN_MS: std::ops::Range<u64> = 200..1_500;
const NETWORK_MS: std::ops::Range<u64> = 800..4_000;
const TROUBLE_MS: std::ops::Range<u64> = 3_000..5_000;
/// Load before the first fault.
const FIRST_MS: std::ops::Range<u64> = 1_500..2_500;
/// Between two faults: less than some take to recover from, which is meant.
const GAP_MS: std::ops::Range<u64> = 500..2_000;
/// Of a hundred faults, how many begin before the one before has ended.
const OVERLAP_PERCENT: u64 = 25;

/// How much of a run of `secs` seconds stays without faults at its end, so that all is delivered and stored.
pub(crate) fn calm(secs: u64) -> Duration {
    Duration::from_secs((secs / 6).clamp(4, 12))
}

/// The schedule of this seed.
pub(crate) fn draw(seed: u64, secs: u64, shape: Shape) -> Vec<Planned> {
    let mut dealer = Dealer::new(seed, shape);
    let end = Duration::from_secs(secs).saturating_sub(calm(secs));
    let mut plan: Vec<Planned> = Vec::new();
    let mut at = dealer.millis(FIRST_MS);
    let mut overlaps = false;
    loop {
        let (fault, lasts) = dealer.fault();
        // What meets the same process has to wait until that is well again.
        if let Some(last) = plan.last().filter(|last| overlaps && same_place(last.fault, fault)) {
            at = last.at + last.lasts + dealer.millis(GAP_MS);
        }
        if at + lasts > end {
            return plan;
        }
        plan.push(Planned { at, lasts, fault });
        overlaps = !overlaps && dealer.rng.chance(OVERLAP_PERCENT);
        at = if overlaps {
            at + lasts / 2
        } else {
            let ended = plan.iter().map(|planned| planned.at + planned.lasts).max().unwrap_or(at);
            ended + dealer.millis(GAP_MS)
        };
    }
}

/// Whether both hurt the same process or the same link.
fn same_place(one: Fault, other: Fault) -> bool {
    let place = |fault| match fault {
        Fault::Kill(target) | Fault::Pause(target) => (target, None),
        Fault::Link { from, to, .. } => (from, Some(to)),
        Fault::ClockBack { node, .. } => (Target::Service(Role::Api, node), None),
        Fault::SlowDisk { .. } => (Target::Store(Store::Log), None),
    };
    place(one) == place(other)
}

struct Dealer {
    rng: Rng,
    shape: Shape,
    families: Deck<Family>,
    killed: Deck<Kind>,
    paused: Deck<Kind>,
    links: Deck<(Role, Store)>,
    networks: Deck<Network>,
}

impl Dealer {
    fn new(seed: u64, shape: Shape) -> Dealer {
        let roles = [Role::Api, Role::FanoutWorker, Role::Persister];
        let links = roles.iter().flat_map(|role| stores_of(*role).iter().map(|store| (*role, *store)));
        Dealer {
            rng: Rng::named(seed, "schedule"),
            shape,
            families: Deck::new(FAMILIES),
            killed: Deck::new(KINDS),
            paused: Deck::new(KINDS),
            links: Deck::new(links.collect::<Vec<_>>()),
            networks: Deck::new(NETWORKS),
        }
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.within(range))
    }

    fn service(&mut self, role: Role) -> Target {
        Target::Service(role, 1 + self.rng.index(self.shape.of(role)))
    }

    fn target(&mut self, kind: Kind) -> Target {
        match kind {
            Kind::Service(role) => self.service(role),
            Kind::Store(store) => Target::Store(store),
        }
    }

    fn fault(&mut self) -> (Fault, Duration) {
        match self.families.deal(&mut self.rng) {
            Family::Kill => {
                let kind = self.killed.deal(&mut self.rng);
                (Fault::Kill(self.target(kind)), self.millis(DOWN_MS))
            }
            Family::Pause => {
                let kind = self.paused.deal(&mut self.rng);
                (Fault::Pause(self.target(kind)), self.millis(PAUSE_MS))
            }
            Family::Link => {
                let (role, to) = self.links.deal(&mut self.rng);
                let network = self.networks.deal(&mut self.rng);
                (Fault::Link { from: self.service(role), to, network }, self.millis(NETWORK_MS))
            }
            Family::Clock => {
                let secs = self.rng.within(2..90);
                // Which processes may be given another clock was decided when they were started.
                (Fault::ClockBack { node: self.shape.api, secs }, self.millis(TROUBLE_MS))
            }
            Family::Disk => (Fault::SlowDisk { millis: self.rng.within(10..40) }, self.millis(TROUBLE_MS)),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Log => "redis-log",
            Store::Bus => "redis-bus",
            Store::Postgres => "postgres",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Service(Role::Api, number) => write!(f, "api-{number}"),
            Target::Service(Role::FanoutWorker, number) => write!(f, "fanout-{number}"),
            Target::Service(Role::Persister, number) => write!(f, "persister-{number}"),
            Target::Store(store) => store.fmt(f),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill(target) => write!(f, "kill -9 {target}"),
            Fault::Pause(target) => write!(f, "pause {target}"),
            Fault::Link { from, to, network } => {
                let what = match network {
                    Network::Slow => "slow",
                    Network::Silent => "silent",
                    Network::Refusing => "refusing",
                    Network::Cut => "cut",
                    Network::LosingAnswers => "losing answers",
                };
                write!(f, "{from} -> {to} {what}")
            }
            Fault::ClockBack { node, secs } => write!(f, "clock of api-{node} {secs} s back"),
            Fault::SlowDisk { millis } => write!(f, "fdatasync of redis-log {millis} ms slower"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:6.2} s  for {lasts:4.2} s  {}", self.fault)
    }
}

#[cfg(test)]
mod tests;
