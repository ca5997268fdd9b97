//! A service as the monitor knows it: what was seen of it, and when it is looked at next.

use std::time::{Duration, Instant};

use kennel_core::{DeploymentId, Look, ServiceHealth, Timestamp};

use super::pulse::Watched;
use crate::limits::Limits;

/// Looks that fail in a row before a service is taken out.
const STRIKES: u32 = 3;

/// A service that is looked after.
#[derive(Debug)]
pub(super) struct Patient {
    pub(super) watched: Watched,
    /// When it is looked at next; none while it is.
    pub(super) due: Option<Instant>,
    begun: Option<Instant>,
    strikes: u32,
    out_since: Option<Timestamp>,
    last: Option<Look>,
}

/// What a look changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// No request is passed to it any more.
    Out,
    /// It serves again, after so long.
    Back(Duration),
}

impl Patient {
    /// One that was not there before. Those that come together are looked at apart.
    pub(super) fn new(id: DeploymentId, watched: Watched, now: Instant, every: Duration) -> Self {
        let due = Some(now + every.mul_f64(place(id)));
        Self { watched, due, begun: None, strikes: 0, out_since: None, last: None }
    }

    /// It is looked at from now on.
    pub(super) fn begins(&mut self, now: Instant) {
        self.due = None;
        self.begun = Some(now);
        self.watched.pulse.is_looked_at();
    }

    /// This was seen.
    pub(super) fn seen(&mut self, look: Look, now: Instant, limits: &Limits) -> Change {
        // One tenth to either side, so that services that once met do not for ever.
        let every = limits.health_every.mul_f64(0.9 + 0.2 * fastrand::f64());
        self.due = Some(now.max(self.begun.unwrap_or(now) + every));
        self.expedite(now, limits);
        let change = match (look.healthy, self.out_since) {
            (true, Some(since)) => {
                self.out_since = None;
                Change::Back(look.at.since(since))
            }
            (false, None) if self.strikes + 1 >= STRIKES => {
                self.out_since = Some(look.at);
                Change::Out
            }
            (true | false, _) => Change::None,
        };
        self.strikes = if look.healthy { 0 } else { self.strikes.saturating_add(1) };
        self.watched.pulse.set_out(self.out_since.is_some());
        self.last = Some(look);
        change
    }

    /// Whether its next look was brought forward, since somebody asked for it in vain.
    pub(super) fn expedite(&mut self, now: Instant, limits: &Limits) -> bool {
        let Some(due) = self.due.filter(|_| self.watched.pulse.is_missed()) else { return false };
        let soon = self.begun.map_or(now, |begun| now.max(begun + limits.health_soon));
        self.due = Some(due.min(soon));
        soon < due
    }

    pub(super) fn report(&self) -> ServiceHealth {
        ServiceHealth { out_since: self.out_since, strikes: self.strikes, last: self.last.clone() }
    }
}

/// Where in an interval a deployment's looks begin, from 0 to 1: numbers that follow each other are
/// as far apart as can be, by the golden ratio.
fn place(id: DeploymentId) -> f64 {
    let turned = id.get().cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    f64::from(u32::try_from(turned >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kennel_core::Protocol;

    use super::*;
    use crate::health::{Alarm, Pulse};
    use crate::upstream::Address;

    fn patient(now: Instant) -> Patient {
        let watched = Watched {
            address: Address::Service { port: 18000.try_into().unwrap(), fork: false },
            protocol: Protocol::Http1,
            path: "/health".into(),
            output: None,
            pulse: Arc::new(Pulse::new(Arc::new(Alarm::default()))),
        };
        Patient::new(DeploymentId::from_row(7), watched, now, Duration::from_secs(30))
    }

    fn look(healthy: bool, millis: i64) -> Look {
        let at = Timestamp::from_millis(millis);
        Look { at, took_ms: 1, healthy, answer: "it answered".into() }
    }

    #[test]
    fn the_third_failure_in_a_row_takes_it_out_and_one_success_brings_it_back() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut it = patient(now);
        for healthy in [false, false, true, false, false] {
            assert_eq!(it.seen(look(healthy, 1000), now, &limits), Change::None);
        }
        assert!(!it.watched.pulse.is_out());
        assert_eq!(it.seen(look(false, 2000), now, &limits), Change::Out);
        assert!(it.watched.pulse.is_out());
        // Since when does not move, and it is said once.
        assert_eq!(it.seen(look(false, 3000), now, &limits), Change::None);
        let report = it.report();
        assert_eq!((report.out_since, report.strikes), (Some(Timestamp::from_millis(2000)), 4));
        let back = Change::Back(Duration::from_secs(7));
        assert_eq!(it.seen(look(true, 9000), now, &limits), back);
        assert!(!it.watched.pulse.is_out());
        assert_eq!((it.report().out_since, it.report().strikes), (None, 0));
    }

    #[test]
    fn looks_are_spread_and_not_in_step() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut places: Vec<f64> =
            (1..=1000).map(|row| place(DeploymentId::from_row(row))).collect();
        places.sort_by(f64::total_cmp);
        let widest = places.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 0.003, "{widest}");
        let mut it = patient(now);
        let mut waits: Vec<Duration> = (0..100)
            .map(|_| {
                it.begins(now);
                it.seen(look(true, 0), now, &limits);
                it.due.unwrap() - now
            })
            .collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 90, "{waits:?}");
        assert!(
            waits[0] >= Duration::from_secs(27)
                && *waits.last().unwrap() <= Duration::from_secs(33)
        );
    }

    #[test]
    fn who_asks_in_vain_brings_the_next_look_forward_and_not_more() {
        let (now, limits) = (Instant::now(), Limits::default());
        let mut it = patient(now);
        assert!(!it.expedite(now, &limits));
        it.watched.pulse.missed();
        assert!(it.expedite(now, &limits));
        assert_eq!(it.due, Some(now));
        assert!(!it.watched.pulse.is_out() && it.report().strikes == 0);
        // Not sooner than a moment after the one before.
        it.begins(now);
        it.watched.pulse.missed();
        it.seen(look(false, 0), now, &limits);
        assert_eq!(it.due, Some(now + limits.health_soon));
        // Never later than it would be anyway.
        it.begins(now + limits.health_soon);
        it.seen(look(false, 0), now + limits.health_soon, &limits);
        let due = it.due.unwrap();
        it.watched.pulse.missed();
        assert!(!it.expedite(due, &limits));
        assert_eq!(it.due, Some(due));
    }
}
