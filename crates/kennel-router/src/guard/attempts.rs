//! Passwords that strangers try: few, one after the other, and never on a worker's own thread.
//!
//! Each attempt costs some ten milliseconds of a processor and as much memory as its hash asks for.
//! One at a time is made in the whole router; who tries too often is told to wait before any of that
//! is spent.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::login::Login;

/// A network may make so many attempts at once, and one more in each [`EACH`].
const BURST: u32 = 10;
/// Ten guesses a minute are none, and people mistype.
const EACH: Duration = Duration::from_secs(6);
/// All together may make so many at once, and one more in each [`EACH_OF_ALL`].
const BURST_OF_ALL: u32 = 40;
/// So that all attempts together take a tenth of a processor with the hashes that kennelctl makes.
const EACH_OF_ALL: Duration = Duration::from_millis(250);
/// How many wait for their turn at most.
const WAITING: usize = 32;
/// When those are forgotten who have long been silent. There are never many more: whoever is let
/// through takes from what all have.
const KNOWN: usize = 256;

/// Who has tried how often, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Attempts {
    counts: Mutex<Counts>,
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    of_networks: HashMap<IpAddr, Count>,
}

/// When the last of the attempts would be due, if they came one in each interval.
#[derive(Debug, Default, Clone, Copy)]
struct Count(Option<Instant>);

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the password.
    Right,
    /// It is not.
    Wrong,
    /// It was not looked at; after so long one may be.
    TooMany(Duration),
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            counts: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Attempts {
    /// Whether it is the password.
    pub(super) async fn verify(
        &self,
        login: &Arc<Login>,
        password: Vec<u8>,
        from: IpAddr,
    ) -> Verdict {
        if login.is_known(&password) {
            return Verdict::Right;
        }
        let admitted = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.admit(network(from), Instant::now())
        };
        if let Err(wait) = admitted {
            return Verdict::TooMany(wait);
        }
        let Some(_place) = Place::take(&self.waiting) else { return Verdict::TooMany(EACH) };
        // Never closed, so it always gives one.
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let login = Arc::clone(login);
        let verified = tokio::task::spawn_blocking(move || {
            // Held until it is done, whether or not somebody still waits for it.
            let _turn = turn;
            login.verify(&password)
        });
        match verified.await {
            Ok(true) => Verdict::Right,
            Ok(false) | Err(_) => Verdict::Wrong,
        }
    }
}

struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        (before < WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn admit(&mut self, network: IpAddr, now: Instant) -> Result<(), Duration> {
        let of_network = self.of_networks.get(&network).copied().unwrap_or_default();
        let of_network = of_network.next(now, EACH, BURST)?;
        self.all = self.all.next(now, EACH_OF_ALL, BURST_OF_ALL)?;
        if self.of_networks.len() >= KNOWN {
            self.of_networks.retain(|_, count| count.0.is_some_and(|due| due > now));
        }
        self.of_networks.insert(network, of_network);
        Ok(())
    }
}

impl Count {
    /// With one more; or how long to wait for it.
    fn next(self, now: Instant, each: Duration, burst: u32) -> Result<Self, Duration> {
        let due = self.0.map_or(now, |due| due.max(now)) + each;
        match (due - now).checked_sub(each * burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            Some(_) | None => Ok(Self(Some(due))),
        }
    }
}

/// Whoever has one address of IPv6 has the 2⁶⁴ beside it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        network(text.parse().unwrap())
    }

    #[test]
    fn a_network_is_told_to_wait_and_others_are_not() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        let one = address("2001:db8:1:2:3::4");
        assert_eq!(one, address("2001:db8:1:2:ffff::1"));
        for _ in 0..BURST {
            assert_eq!(counts.admit(one, now), Ok(()));
        }
        assert_eq!(counts.admit(one, now), Err(EACH));
        assert_eq!(counts.admit(address("2001:db8:1:3::"), now), Ok(()));
        assert_eq!(counts.admit(one, now + EACH), Ok(()));
        assert_eq!(counts.admit(one, now + EACH), Err(EACH));
        // Silence gives back what there was at first, and no more.
        let later = now + EACH * 100;
        let admitted = (0..100).filter(|_| counts.admit(one, later).is_ok()).count();
        assert_eq!(admitted, BURST as usize);
    }

    #[test]
    fn many_networks_together_are_bounded_and_so_is_what_is_known_of_them() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        let mut admitted = 0;
        for number in 0..10_000_u32 {
            let from = IpAddr::from(number.to_be_bytes());
            let at = now + Duration::from_millis(u64::from(number));
            admitted += u32::from(counts.admit(from, at).is_ok());
        }
        // In ten seconds.
        assert!(admitted <= BURST_OF_ALL + 40, "{admitted}");
        assert!(counts.of_networks.len() <= KNOWN);
    }

    #[test]
    fn one_at_a_time_and_the_right_one_always() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let attempts = Attempts::default();
        let login = Arc::new(super::super::login::tests::login("right", 1));
        let from = address("192.0.2.1");
        let verify = |password: &str| {
            runtime.block_on(attempts.verify(&login, password.as_bytes().to_vec(), from))
        };
        assert_eq!(verify("wrong"), Verdict::Wrong);
        assert_eq!(verify("right"), Verdict::Right);
        for _ in 0..20 {
            // Known, and no attempt.
            assert_eq!(verify("right"), Verdict::Right);
        }
        let refused = (0..BURST).filter(|_| matches!(verify("wrong"), Verdict::TooMany(_))).count();
        assert!(refused > 0);
        assert_eq!(verify("right"), Verdict::Right);
        assert_eq!(attempts.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(attempts.turn.available_permits(), 1);
    }
}
