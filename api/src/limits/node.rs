//! The limits that this node keeps, some of them together with the others over the bus. While the bus is away the local
//! figure alone holds: a limit never opens because a count is missing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::bus::Bus;
use shared::id::{AccountId, BootId, RoomId};
use shared::telemetry::names;
use shared::{Code, Error, Refusal};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Buckets, Counts, Limits, Place, network_of};

/// Rates and counts of one node.
pub(crate) struct NodeLimits {
    messages: Buckets<AccountId>,
    rooms: Buckets<RoomId>,
    friend_changes: Buckets<AccountId>,
    lookups: Buckets<AccountId>,
    handshakes: Buckets<IpAddr>,
    handshakes_per_second: u32,
    appends: Semaphore,
    people: Counts<AccountId>,
    addresses: Counts<IpAddr>,
    sockets_per_user: u32,
    sockets_per_ip: u32,
}

/// The places of one socket. Dropping it gives them back, on the bus too.
pub(crate) struct SocketPlace {
    person: Place<AccountId>,
    address: Place<IpAddr>,
    bus: Bus,
    node: Arc<dyn Fn() -> BootId + Send + Sync>,
}

/// What is on its way into the log.
pub(crate) struct UnderWay<'a> {
    _place: SemaphorePermit<'a>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        metrics::gauge!(names::APPENDS_IN_FLIGHT).decrement(1);
    }
}

/// What a caller is told to wait when too much is under way: that clears faster than a backlog.
const BUSY_RETRY: Duration = Duration::from_secs(1);

impl NodeLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let most = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            messages: Buckets::new(limits.message_rate(), limits.rate_keys, now),
            rooms: Buckets::new(limits.room_message_rate(), limits.rate_keys, now),
            friend_changes: Buckets::new(limits.friend_change_rate(), limits.rate_keys, now),
            lookups: Buckets::new(limits.lookup_rate(), limits.rate_keys, now),
            handshakes: Buckets::new(limits.handshake_rate(), limits.rate_keys, now),
            handshakes_per_second: limits.handshakes_per_second,
            appends: Semaphore::new(limits.appends_in_flight),
            people: Counts::new(limits.sockets_per_user),
            addresses: Counts::new(limits.sockets_per_ip),
            sockets_per_user: most(limits.sockets_per_user),
            sockets_per_ip: most(limits.sockets_per_ip),
        }
    }

    /// Lets one more message or like go to the log, for as long as the answer is held. When too many are on their way
    /// already, nothing was done, and there will be room again soon: they all are answered within seconds.
    pub(crate) fn begin_append(&self) -> Result<UnderWay<'_>, Error> {
        let Ok(place) = self.appends.try_acquire() else {
            let busy = Refusal::new(Code::Overloaded, "Too much is being sent at once, try again soon");
            return Err(busy.retry_after(BUSY_RETRY).into());
        };
        metrics::gauge!(names::APPENDS_IN_FLIGHT).increment(1);
        Ok(UnderWay { _place: place })
    }

    /// Whether no more can be on its way into the log: then whatever can be left out is.
    pub(crate) fn is_busy(&self) -> bool {
        self.appends.available_permits() == 0
    }

    /// Lets a message or a like of `person` in `room` pass, or says when the next one may.
    pub(crate) fn let_message_pass(&self, person: AccountId, room: RoomId) -> Result<(), Error> {
        let now = Instant::now();
        let passed = self.messages.take(person, now).and_then(|()| self.rooms.take(room, now));
        passed.map_err(|wait| too_fast("Too many messages, please slow down", wait))
    }

    /// Lets something that `person` does about friends pass, or says when the next may.
    pub(crate) fn let_friend_change_pass(&self, person: AccountId) -> Result<(), Error> {
        let passed = self.friend_changes.take(person, Instant::now());
        passed.map_err(|wait| too_fast("Too many changes of friends, please slow down", wait))
    }

    /// Lets a look-up of people by `person` pass, or says when the next may.
    pub(crate) fn let_lookup_pass(&self, person: AccountId) -> Result<(), Error> {
        let passed = self.lookups.take(person, Instant::now());
        passed.map_err(|wait| too_fast("Too many look-ups, please slow down", wait))
    }

    /// Lets a handshake from `address` pass: by this node's own rate, then by the count of all nodes.
    pub(crate) async fn let_handshake_pass(&self, bus: &Bus, address: IpAddr) -> Result<(), Error> {
        let network = network_of(address);
        let refuse = |wait| too_fast("Too many connections at once, please slow down", wait);
        self.handshakes.take(network, Instant::now()).map_err(refuse)?;
        let second = chrono::Utc::now().timestamp();
        match bus.count_handshake(&network.to_string(), second).await {
            Ok(count) if count > self.handshakes_per_second => Err(refuse(Duration::from_secs(1))),
            _ => Ok(()),
        }
    }

    /// A place for one more socket of `person` from `address`.
    pub(crate) async fn enter(
        &self,
        bus: &Bus,
        node: Arc<dyn Fn() -> BootId + Send + Sync>,
        person: AccountId,
        address: IpAddr,
    ) -> Result<SocketPlace, Error> {
        let network = network_of(address);
        let full = |message: &'static str| too_fast(message, Duration::from_secs(5));
        let place = SocketPlace {
            person: self.people.enter(person).ok_or_else(|| full("Too many connections of this account"))?,
            address: self
                .addresses
                .enter(network)
                .ok_or_else(|| full("Too many connections of this address"))?,
            bus: bus.clone(),
            node,
        };
        let counted = |of: String, count: usize, most| {
            let (bus, node) = (bus.clone(), (place.node)());
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            async move { bus.count_sockets(&of, node, count, Some(most)).await.unwrap_or(true) }
        };
        if !counted(person.to_string(), place.person.taken(), self.sockets_per_user).await {
            return Err(full("Too many connections of this account"));
        }
        if !counted(network.to_string(), place.address.taken(), self.sockets_per_ip).await {
            return Err(full("Too many connections of this address"));
        }
        Ok(place)
    }

    /// Says this node's counts to the bus again, before they lapse there.
    pub(crate) async fn say_again(&self, bus: &Bus, node: BootId) -> Result<(), Error> {
        let people = self.people.all().into_iter().map(|(person, count)| (person.to_string(), count));
        let addresses = self.addresses.all().into_iter().map(|(address, count)| (address.to_string(), count));
        for (of, count) in people.chain(addresses) {
            bus.count_sockets(&of, node, u32::try_from(count).unwrap_or(u32::MAX), None).await?;
        }
        Ok(())
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let left = [
            (self.person.key().to_string(), self.person.taken() - 1),
            (self.address.key().to_string(), self.address.taken() - 1),
        ];
        let (bus, node) = (self.bus.clone(), (self.node)());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for (of, count) in left {
                // What can't be said now lapses by itself.
                let _ = bus.count_sockets(&of, node, u32::try_from(count).unwrap_or(0), None).await;
            }
        });
    }
}

fn too_fast(message: &'static str, wait: Duration) -> Error {
    Refusal::new(Code::RateLimited, message).retry_after(wait).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_under_way_at_once_and_the_rest_is_told_to_wait() {
        let limits = NodeLimits::new(&Limits { appends_in_flight: 2, ..Limits::default() });
        let first = limits.begin_append().expect("a free place");
        let _second = limits.begin_append().expect("a free place");
        match limits.begin_append() {
            Err(Error::Refused(refusal)) => {
                assert_eq!((refusal.code, refusal.retry_after), (Code::Overloaded, Some(BUSY_RETRY)));
            }
            _ => panic!("two are under way"),
        }
        assert!(limits.is_busy());
        drop(first);
        assert!(!limits.is_busy());
        assert!(limits.begin_append().is_ok(), "a place that was left can be taken");
    }
}
