//! One line of the journal instead of a thousand: a service that is down is said so every ten
//! seconds, and not once per request.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// At most one of these per worker.
const EVERY: Duration = Duration::from_secs(10);

/// Lets one message through now and then.
#[derive(Default)]
pub(crate) struct Throttle {
    last: Cell<Option<Instant>>,
    held: Cell<u64>,
}

impl Throttle {
    /// Whether to say it now, and how many were not said since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        match self.last.get() {
            Some(last) if now.saturating_duration_since(last) < EVERY => {
                self.held.set(self.held.get().saturating_add(1));
                None
            }
            Some(_) | None => {
                self.last.set(Some(now));
                Some(self.held.take())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_counts_those_between() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start + EVERY / 2), None);
        assert_eq!(throttle.pass_at(start + EVERY / 2), None);
        assert_eq!(throttle.pass_at(start + EVERY), Some(2));
    }
}
