//! The stack that is hurt: real release processes on servers of its own, with a link of ours between any two of them.

mod clock;
mod supervisor;

use std::sync::atomic::AtomicUsize;

use harness::disk::SlowDisk;
use harness::proxy::{Proxy, Weather};
use harness::servers::Postgres;
use harness::stack::{Role, Stack};
use tokio::sync::Mutex;

use crate::schedule::{Fault, Network, Shape, Store, Target, stores_of};
use clock::Clock;

/// How old a connection gets before an answer on it may be lost: its greeting has to come through, or nothing ever takes
/// effect on a link that loses answers.
const ANSWERS_LOST_FROM: std::time::Duration = std::time::Duration::from_millis(200);
/// How late a slow link is.
const LATE: std::time::Duration = std::time::Duration::from_millis(60);
/// The lease of workers, which a pause outlasts.
const LEASE_MS: &str = "3000";

/// Everything that can be hurt.
pub(crate) struct Site {
    pub(crate) stack: Mutex<Stack>,
    pub(crate) shape: Shape,
    postgres: Postgres,
    links: Vec<(Target, Store, Proxy)>,
    clock: Option<Clock>,
    /// Killed, and not to be started before its time.
    down: std::sync::Mutex<Vec<Target>>,
    /// How often a service had to be started because it could not reach a store when it began.
    pub(crate) restarts: AtomicUsize,
}

/// What ends a fault.
pub(crate) enum Remedy {
    Revive(Target),
    Resume(Target),
    Mend(Target, Store),
    SetClockRight,
    Release(SlowDisk),
}

impl Site {
    /// Starts everything and waits until it is ready to chat.
    pub(crate) async fn start(shape: Shape, secs: u64) -> Site {
        // Nothing is trimmed within a run, so that its whole log can be compared at the end.
        let retain = (2 * secs + 600).to_string();
        let builder = Stack::builder().nodes(0).workers(0).processes().own_postgres();
        let builder = builder
            .var("LEASE_MS", LEASE_MS)
            .var("LOG_RETAIN_SECS", &retain)
            .var("LOG_MAX_BYTES", "1073741824")
            .var("LIVE_CHAT_MESSAGE_HISTORY_LIMIT", "1000")
            .var("RUST_LOG", "info");
        let mut stack = builder.start().await;
        let clock = Clock::find();
        let mut links = Vec::new();
        for role in [Role::Persister, Role::FanoutWorker, Role::Api] {
            for number in 1..=shape.of(role) {
                let target = Target::Service(role, number);
                let own_clock = clock.as_ref().filter(|_| target == Target::Service(Role::Api, shape.api));
                Clock::give(own_clock, &mut stack);
                link(&mut stack, &mut links, target, role).await;
                stack.add(role).await;
            }
        }
        stack.ready().await;
        let postgres = stack.servers.postgres.clone();
        let (down, restarts) = Default::default();
        Site { stack: Mutex::new(stack), shape, postgres, links, clock, down, restarts }
    }

    /// Lets a fault happen; answers what ends it, or why it can't be had on this machine.
    pub(crate) async fn hurt(&self, fault: Fault) -> Result<Remedy, String> {
        match fault {
            Fault::Kill(target) => {
                self.kill(target).await;
                Ok(Remedy::Revive(target))
            }
            Fault::Pause(target) => {
                self.pause(target).await;
                Ok(Remedy::Resume(target))
            }
            Fault::Link { from, to, network } => {
                let proxy = self.link(from, to);
                match network {
                    Network::Slow => proxy.set(Weather::Slow(LATE)),
                    Network::Silent => proxy.set(Weather::Silent),
                    Network::Refusing => proxy.set(Weather::Refusing),
                    Network::Cut => proxy.cut(),
                    Network::LosingAnswers => proxy.set(Weather::LosingAnswers(ANSWERS_LOST_FROM)),
                }
                Ok(Remedy::Mend(from, to))
            }
            Fault::ClockBack { secs, .. } => {
                let clock = self.clock.as_ref().ok_or("libfaketime is not installed")?;
                clock.set_back(secs);
                Ok(Remedy::SetClockRight)
            }
            Fault::SlowDisk { millis } => {
                let process = self.stack.lock().await.servers.log.process_id();
                let process = process.ok_or("the log's process is not ours")?;
                Ok(Remedy::Release(SlowDisk::attach(process, millis).await?))
            }
        }
    }

    /// Ends a fault.
    pub(crate) async fn heal(&self, remedy: Remedy) {
        match remedy {
            Remedy::Revive(target @ Target::Service(role, number)) => {
                self.stack.lock().await.service(role, number).process().restart();
                self.down().retain(|down| *down != target);
            }
            Remedy::Revive(Target::Store(Store::Log)) => self.stack.lock().await.servers.log.revive(),
            Remedy::Revive(Target::Store(Store::Bus)) => self.stack.lock().await.servers.bus.revive(),
            Remedy::Revive(Target::Store(Store::Postgres)) => self.postgres.start().await,
            Remedy::Resume(Target::Service(role, number)) => {
                self.stack.lock().await.service(role, number).process().resume();
            }
            Remedy::Resume(Target::Store(Store::Log)) => self.stack.lock().await.servers.log.resume(),
            Remedy::Resume(Target::Store(Store::Bus)) => self.stack.lock().await.servers.bus.resume(),
            Remedy::Resume(Target::Store(Store::Postgres)) => self.postgres.resume(),
            Remedy::Mend(from, to) => self.link(from, to).set(Weather::Fair),
            Remedy::SetClockRight => {
                if let Some(clock) = &self.clock {
                    clock.set_back(0);
                }
            }
            Remedy::Release(disk) => disk.release().await,
        }
    }

    async fn kill(&self, target: Target) {
        match target {
            Target::Service(role, number) => {
                self.down().push(target);
                self.stack.lock().await.service(role, number).process().kill9();
            }
            Target::Store(Store::Log) => self.stack.lock().await.servers.log.kill9(),
            Target::Store(Store::Bus) => self.stack.lock().await.servers.bus.kill9(),
            Target::Store(Store::Postgres) => self.postgres.kill9(),
        }
    }

    async fn pause(&self, target: Target) {
        match target {
            Target::Service(role, number) => {
                let mut stack = self.stack.lock().await;
                let process = stack.service(role, number).process();
                if process.has_ended() {
                    process.restart();
                }
                process.pause();
            }
            Target::Store(Store::Log) => self.stack.lock().await.servers.log.pause(),
            Target::Store(Store::Bus) => self.stack.lock().await.servers.bus.pause(),
            Target::Store(Store::Postgres) => self.postgres.pause(),
        }
    }

    fn down(&self) -> std::sync::MutexGuard<'_, Vec<Target>> {
        self.down.lock().expect("nothing panics while it holds this lock")
    }

    /// Every process of ours.
    fn services(&self) -> Vec<(Role, usize)> {
        let roles = [Role::Api, Role::FanoutWorker, Role::Persister];
        roles.iter().flat_map(|role| (1..=self.shape.of(*role)).map(|number| (*role, number))).collect()
    }

    fn link(&self, from: Target, to: Store) -> &Proxy {
        let link = self.links.iter().find(|link| (link.0, link.1) == (from, to));
        &link.expect("every link was made at the start").2
    }

    /// Everything that our processes wrote, by their names.
    pub(crate) async fn logs(&self) -> Vec<(String, String)> {
        let mut stack = self.stack.lock().await;
        let mut logs = Vec::new();
        for (role, number) in self.services() {
            let log = stack.service(role, number).process().log();
            logs.push((Target::Service(role, number).to_string(), log));
        }
        logs
    }

    /// Stops everything as a deploy does; whatever that breaks is a panic.
    pub(crate) async fn finish(self) {
        let mut stack = self.stack.into_inner();
        stack.ready().await;
        // Each link waits for connections until it is dropped.
        stack.is_outlived_by(self.links.len());
        stack.finish().await;
    }
}

/// Puts a link of its own between the next service and each of its servers.
async fn link(stack: &mut Stack, links: &mut Vec<(Target, Store, Proxy)>, target: Target, role: Role) {
    for (store, name) in
        [(Store::Log, "REDIS_URL"), (Store::Bus, "BUS_REDIS_URL"), (Store::Postgres, "DATABASE_URL")]
    {
        let url = match store {
            Store::Log => stack.servers.log_url.clone(),
            Store::Bus => stack.servers.bus_url.clone(),
            Store::Postgres => stack.servers.database_url.clone(),
        };
        if stores_of(role).contains(&store) {
            let (proxy, over) = Proxy::before(&url).await;
            stack.set(name, &over);
            links.push((target, store, proxy));
        } else {
            stack.set(name, &url);
        }
    }
}
