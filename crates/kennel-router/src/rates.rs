//! How fast clients ask: who asks for more than it may is told when to come again.
//!
//! One table for all workers, so that a client has one allowance whichever of them accepts it. Its
//! size is fixed and nothing is locked or allocated on the way of a request. Each place holds one
//! number: until when its client has used up what it is given (the "generic cell rate algorithm" of
//! ITU-T I.371, a bucket of tokens that fills by itself).

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kennel_core::config::RateLimit;

use crate::network::Network;

/// How many clients are known at a time, each with every limit that counts it: 512 KiB. Beyond, the
/// one is forgotten that has used up least.
const PLACES: usize = 1 << 15;
/// Among how many places one client's is looked for.
const WAYS: usize = 4;

/// Everybody's allowances.
#[derive(Debug)]
pub(crate) struct Rates {
    start: Instant,
    /// Drawn anew with each start, so that nobody can find addresses that share another's places.
    hasher: RandomState,
    places: Box<[Place]>,
}

#[derive(Debug, Default)]
struct Place {
    /// Whose it is.
    who: AtomicU64,
    /// Nanoseconds since the start.
    used_until: AtomicU64,
}

/// One limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// What tells it apart from other limits of the same client.
    whose: u64,
    /// Nanoseconds per request.
    each: u64,
    /// How far ahead of the time a client may be, in nanoseconds.
    ahead: u64,
}

impl Rate {
    pub(crate) fn new(limit: &RateLimit, whose: u64) -> Self {
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
        let each = (per / u64::from(limit.requests.max(1))).max(1);
        Self { whose, each, ahead: each.saturating_mul(u64::from(limit.burst.saturating_sub(1))) }
    }
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            hasher: RandomState::new(),
            places: (0..PLACES).map(|_| Place::default()).collect(),
        }
    }

    /// A number for whatever has a limit, other than that of all hosts; the same in every table.
    pub(crate) fn name(limited: &impl Hash) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        limited.hash(&mut hasher);
        hasher.finish().max(1)
    }

    /// Counts a request of `client`, or says after which time there is room for it.
    pub(crate) fn admit(&self, rate: &Rate, client: IpAddr) -> Result<(), Duration> {
        self.admit_at(rate, client, self.start.elapsed())
    }

    fn admit_at(&self, rate: &Rate, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let who = self.hasher.hash_one((Network::from(client), rate.whose));
        let Some(place) = self.place(who, now) else { return Ok(()) };
        let mut known = place.used_until.load(Ordering::Relaxed);
        loop {
            let from = known.max(now);
            if from - now > rate.ahead {
                return Err(Duration::from_nanos(from - now - rate.ahead));
            }
            let new = from.saturating_add(rate.each);
            match place.used_until.compare_exchange_weak(
                known,
                new,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => known = other,
            }
        }
    }

    /// The place of a client: its own, or that of the one who has used up least.
    fn place(&self, who: u64, now: u64) -> Option<&Place> {
        let sets = PLACES / WAYS;
        let first = usize::try_from(who).unwrap_or_default() % sets * WAYS;
        let set = self.places.get(first..first + WAYS)?;
        if let Some(own) = set.iter().find(|place| place.who.load(Ordering::Relaxed) == who) {
            return Some(own);
        }
        let place = set.iter().min_by_key(|place| place.used_until.load(Ordering::Relaxed))?;
        place.who.store(who, Ordering::Relaxed);
        // What is over needs no change, so that two workers that come here at once for the same
        // client do not take each other's count away.
        if place.used_until.load(Ordering::Relaxed) > now {
            place.used_until.store(now, Ordering::Relaxed);
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32, per: u64, burst: u32) -> Rate {
        Rate::new(&RateLimit { requests, per: Duration::from_secs(per), burst }, 1)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn so_many_at_once_and_then_as_they_come() {
        let rates = Rates::new();
        let (rate, client) = (limit(10, 1, 3), ip("192.0.2.1"));
        let at = |millis| rates.admit_at(&rate, client, Duration::from_millis(millis));
        for _ in 0..3 {
            assert_eq!(at(1000), Ok(()));
        }
        assert_eq!(at(1000), Err(Duration::from_millis(100)));
        assert_eq!(at(1050), Err(Duration::from_millis(50)));
        assert_eq!(at(1100), Ok(()));
        assert_eq!(at(1100), Err(Duration::from_millis(100)));
        // After a rest all of it is there again, and no more.
        for _ in 0..3 {
            assert_eq!(at(60_000), Ok(()));
        }
        assert!(at(60_000).is_err());
    }

    #[test]
    fn clients_and_limits_are_apart() {
        let rates = Rates::new();
        let rate = limit(1, 3600, 1);
        let now = Duration::from_secs(1);
        let admits = |rate: &Rate, client: &str| rates.admit_at(rate, ip(client), now).is_ok();
        assert!(admits(&rate, "192.0.2.1"));
        assert!(!admits(&rate, "::ffff:192.0.2.1"));
        assert!(admits(&rate, "192.0.2.2"));
        assert!(admits(&rate, "2001:db8::1"));
        assert!(!admits(&rate, "2001:db8::2"), "of the same /64");
        assert!(admits(&rate, "2001:db8:0:1::1"));
        let other = Rate { whose: 2, ..rate };
        assert!(admits(&other, "192.0.2.1"));
        assert!(!admits(&other, "192.0.2.1"));
    }

    #[test]
    fn more_clients_than_places_forget_who_has_used_up_least() {
        let rates = Rates::new();
        let hour = limit(1, 3600, 1);
        assert!(rates.admit_at(&hour, ip("192.0.2.1"), Duration::ZERO).is_ok());
        let second = limit(1, 1, 1);
        for n in 0..200_000_u32 {
            let client = IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
            // Any of them may be refused in place of one whom it shares a number with: never here.
            assert!(rates.admit_at(&second, client, Duration::ZERO).is_ok(), "{client}");
        }
        assert!(rates.admit_at(&hour, ip("192.0.2.1"), Duration::ZERO).is_err());
    }

    #[test]
    fn the_largest_limits_are_no_overflow() {
        let rates = Rates::new();
        let rate = limit(1, 24 * 3600, 1_000_000);
        for _ in 0..1000 {
            assert!(rates.admit(&rate, ip("192.0.2.1")).is_ok());
        }
    }

    #[test]
    fn workers_together_let_through_what_one_would() {
        let rates = Rates::new();
        let rate = limit(100, 3600, 100);
        let count = |_| (0..100).filter(|_| rates.admit(&rate, ip("192.0.2.1")).is_ok()).count();
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || count(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, 100);
    }
}
