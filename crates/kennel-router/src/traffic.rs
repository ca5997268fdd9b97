//! What goes through the routes of one service or site.
//!
//! Each worker has a share of its own that it alone writes: nothing is locked, nothing is read,
//! changed and written at once, and no worker waits for a line of the cache that another has. Sums
//! are made on reading. A share is made when its worker is first asked for something, so that
//! thousands of hosts that nobody visits cost nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::StatusCode;
use kennel_core::{RouteOutput, RouteTraffic};

/// The upper ends of the classes of durations, in microseconds. Few, since there is a number for
/// each route and worker, and so close that a percentile is off by a factor of 2.5 at most.
pub(crate) const BOUNDS_US: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// One service's or site's, handed on from table to table.
#[derive(Debug)]
pub(crate) struct Traffic {
    shares: Box<[OnceLock<Arc<Share>>]>,
}

/// One worker's part of it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Share {
    in_flight: Own,
    answers: [Own; 5],
    received_bytes: Own,
    sent_bytes: Own,
    took_us: Own,
    took: [Own; BOUNDS_US.len() + 1],
}

/// A number that one thread writes.
#[derive(Debug, Default)]
struct Own(AtomicU64);

impl Own {
    /// Two steps, and right all the same: nobody else writes in between.
    fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn down(&self) {
        self.add(u64::MAX);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's place in the figures, from when it is known whose it is.
#[derive(Debug)]
pub(crate) struct Visit {
    share: Arc<Share>,
    begun: Instant,
}

/// A tunnel that is open: counted like a request that is being answered.
#[derive(Debug)]
pub(crate) struct Tunnelled {
    share: Arc<Share>,
    /// Whether a request counts for it already.
    is_counted: bool,
}

impl Traffic {
    pub(crate) fn new(workers: usize) -> Self {
        Self { shares: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// The share of a worker, for it alone.
    pub(crate) fn share(&self, worker: usize) -> Option<Arc<Share>> {
        self.shares.get(worker).map(|share| Arc::clone(share.get_or_init(Arc::default)))
    }

    fn sum(&self, read: impl Fn(&Share) -> &Own) -> u64 {
        self.shares.iter().filter_map(OnceLock::get).map(|share| read(share).now()).sum()
    }

    /// How long all answers took together, in microseconds.
    pub(crate) fn took_us(&self) -> u64 {
        self.sum(|share| &share.took_us)
    }

    /// Whether anybody has asked for anything.
    pub(crate) fn is_used(&self) -> bool {
        self.shares.iter().any(|share| share.get().is_some())
    }

    /// All shares together.
    pub(crate) fn report(&self, output: &RouteOutput, healthy: Option<bool>) -> RouteTraffic {
        let mut answers = [0; 5];
        let mut took = vec![0; BOUNDS_US.len() + 1];
        for share in self.shares.iter().filter_map(OnceLock::get) {
            let add = |sums: &mut [u64], own: &[Own]| {
                sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own.now());
            };
            add(&mut answers, &share.answers);
            add(&mut took, &share.took);
        }
        RouteTraffic {
            output: output.clone(),
            answers,
            // Read one after the other, they can be off by what happens in between.
            in_flight: self.sum(|share| &share.in_flight),
            received_bytes: self.sum(|share| &share.received_bytes),
            sent_bytes: self.sum(|share| &share.sent_bytes),
            took,
            healthy,
        }
    }
}

impl Visit {
    pub(crate) fn begin(share: Arc<Share>) -> Self {
        share.in_flight.add(1);
        Self { share, begun: Instant::now() }
    }

    /// An answer with this status was begun.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        if let Some(answers) = self.share.answers.get(class) {
            answers.add(1);
        }
    }

    /// So much of the request's body came.
    pub(crate) fn received(&self, bytes: usize) {
        self.share.received_bytes.add(bytes as u64);
    }

    /// So much of the answer's body was handed over.
    pub(crate) fn sent(&self, bytes: usize) {
        self.share.sent_bytes.add(bytes as u64);
    }

    /// It is over. How long tunnels are open says nothing about the service.
    pub(crate) fn ended(&self, now: Instant, was_tunnel: bool) {
        self.share.in_flight.down();
        if was_tunnel {
            return;
        }
        let took = now.saturating_duration_since(self.begun).as_micros();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        let class = BOUNDS_US.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(count) = self.share.took.get(class) {
            count.add(1);
        }
        self.share.took_us.add(took);
    }

    /// It became a tunnel, whose end is not its own if `is_counted` says so.
    pub(crate) fn tunnelled(&self, is_counted: bool) -> Tunnelled {
        let share = Arc::clone(&self.share);
        if !is_counted {
            share.in_flight.add(1);
        }
        Tunnelled { share, is_counted }
    }
}

impl Tunnelled {
    /// So much came from the client.
    pub(crate) fn received(&self, bytes: usize) {
        self.share.received_bytes.add(bytes as u64);
    }

    /// So much is on the way to the client.
    pub(crate) fn sent(&self, bytes: usize) {
        self.share.sent_bytes.add(bytes as u64);
    }
}

impl Drop for Tunnelled {
    fn drop(&mut self) {
        if !self.is_counted {
            self.share.in_flight.down();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn workers_are_summed_and_durations_sorted() {
        let traffic = Traffic::new(2);
        assert!(!traffic.is_used());
        let output = RouteOutput {
            project: "shop".parse().unwrap(),
            branch: "main".into(),
            service: "api".parse().unwrap(),
        };
        for worker in [0, 1, 1] {
            let visit = Visit::begin(traffic.share(worker).unwrap());
            visit.answered(StatusCode::OK);
            visit.received(3);
            visit.sent(70);
            visit.ended(visit.begun + Duration::from_micros(500 + worker as u64), false);
        }
        let open = Visit::begin(traffic.share(0).unwrap());
        open.answered(StatusCode::SWITCHING_PROTOCOLS);
        let tunnel = open.tunnelled(false);
        tunnel.received(5);
        open.ended(open.begun + Duration::from_secs(60), true);
        let report = traffic.report(&output, Some(true));
        assert_eq!(report.answers, [1, 3, 0, 0, 0]);
        assert_eq!((report.in_flight, report.received_bytes, report.sent_bytes), (1, 14, 210));
        assert_eq!((report.took[0], report.took[1], report.took.iter().sum()), (1, 2, 3));
        assert_eq!(traffic.took_us(), 1502);
        drop(tunnel);
        assert_eq!(traffic.report(&output, None).in_flight, 0);
        assert!(traffic.share(2).is_none());
    }

    #[test]
    fn what_takes_long_is_in_the_last_class() {
        let traffic = Traffic::new(1);
        let visit = Visit::begin(traffic.share(0).unwrap());
        visit.ended(visit.begun + Duration::from_secs(3600), false);
        let output = RouteOutput {
            project: "shop".parse().unwrap(),
            branch: "main".into(),
            service: "api".parse().unwrap(),
        };
        assert_eq!(traffic.report(&output, None).took.last(), Some(&1));
    }
}
