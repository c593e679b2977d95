//! Token buckets, pure: the clock is an argument. A bucket is one instant, the one at which it will be full again;
//! every token taken moves that instant on, and as it lies in the future only by so much as the burst takes to
//! refill, the rest of the arithmetic is a comparison.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many a second on average, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time in which one token comes back.
    interval: Duration,
    /// Time in which an empty bucket fills.
    refill: Duration,
}

impl Rate {
    /// Neither may be 0; settings see to that, and 0 counts as 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Rate {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Rate { interval, refill: interval * burst.max(1) }
    }

    /// So many in a minute on average, all of them at once for all that.
    pub(crate) fn per_minute(most: u32) -> Rate {
        let interval = Duration::from_secs(60) / most.max(1);
        Rate { interval, refill: interval * most.max(1) }
    }
}

/// What one person, address, room or socket has left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(now: Instant) -> Bucket {
        Bucket { full_at: now }
    }

    /// Takes a token, or says how long to wait for one. Only a token taken counts.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.interval;
        let wait = (full_at - now).saturating_sub(rate.refill);
        if wait.is_zero() {
            self.full_at = full_at;
            Ok(())
        } else {
            Err(wait)
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// A bucket per key, for a bounded number of keys. A full bucket is as good as none, so those go first; when a flood
/// of keys leaves none to go, all keys without a bucket share one, and stay limited.
pub(crate) struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    buckets: HashMap<K, Bucket>,
    overflow: Bucket,
    /// Sweeping earlier than this would find little: so it costs little per token however many keys there are.
    next_sweep: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    /// None yet; at most `keys_max` at any time.
    pub(crate) fn new(rate: Rate, keys_max: usize, now: Instant) -> Buckets<K> {
        let kept = Kept { buckets: HashMap::new(), overflow: Bucket::new(now), next_sweep: now };
        Buckets { rate, keys_max, kept: Mutex::new(kept) }
    }

    /// Takes a token of this key's, or says how long to wait for one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut kept = self.kept.lock().expect("nothing under this lock can panic");
        let kept = &mut *kept;
        if let Some(bucket) = kept.buckets.get_mut(&key) {
            return bucket.take(self.rate, now);
        }
        if kept.buckets.len() >= self.keys_max && now >= kept.next_sweep {
            kept.buckets.retain(|_, bucket| !bucket.is_full(now));
            kept.next_sweep = now + self.rate.refill;
        }
        if kept.buckets.len() >= self.keys_max {
            return kept.overflow.take(self.rate, now);
        }
        kept.buckets.entry(key).or_insert(Bucket::new(now)).take(self.rate, now)
    }
}

/// Whom an address stands for: one IPv4 address, or the IPv6 network of one line, within which anybody has 2^64
/// addresses to choose from.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn s24_a_bucket_gives_its_burst_and_then_its_rate() {
        // 10 a second, 3 at once: (milliseconds since the start, outcome)
        let table = [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(ms(100))),
            (40, Err(ms(60))),
            (100, Ok(())),
            (100, Err(ms(100))),
            (350, Ok(())),
            (350, Ok(())),
            (350, Err(ms(50))),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Ok(())),
            (10_000, Err(ms(100))),
        ];
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        for (at, expected) in table {
            assert_eq!(bucket.take(Rate::new(10, 3), start + ms(at)), expected, "at {at} ms");
        }
    }

    #[test]
    fn s24_a_second_holds_at_most_burst_and_rate() {
        let (start, rate) = (Instant::now(), Rate::new(10, 20));
        let mut bucket = Bucket::new(start);
        let taken = (0..1_000).filter(|at| bucket.take(rate, start + ms(*at)).is_ok()).count();
        assert_eq!(taken, 29);
    }

    #[test]
    fn s24_keys_do_not_share_while_there_is_room() {
        let start = Instant::now();
        let buckets = Buckets::new(Rate::new(1, 1), 10, start);
        assert!(buckets.take("ana", start).is_ok());
        assert!(buckets.take("ana", start).is_err());
        assert!(buckets.take("ben", start).is_ok());
    }

    #[test]
    fn s24_a_flood_of_keys_is_bounded_and_still_limited() {
        let start = Instant::now();
        let buckets = Buckets::new(Rate::new(1, 2), 100, start);
        let passed = (0..1_000).filter(|key| buckets.take(*key, start).is_ok()).count();
        assert_eq!(passed, 102, "100 keys with a bucket and the two tokens that all others share");
        assert_eq!(buckets.kept.lock().expect("no panic").buckets.len(), 100);

        let later = start + ms(3_000);
        assert!(buckets.take(5_000, later).is_ok());
        assert_eq!(buckets.kept.lock().expect("no panic").buckets.len(), 1, "full buckets made room");
    }

    #[test]
    fn s24_addresses_of_one_line_count_as_one() {
        let of = |text: &str| network_of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
