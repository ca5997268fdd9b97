//! How many lines one kind of event may write into the journal.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts lines, and those that were not written.
#[derive(Debug)]
pub struct LogQuota {
    lines: u32,
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window_began: Instant,
    written: u32,
    unlisted: u64,
}

impl LogQuota {
    /// For what strangers can bring about: with 20 lines a minute, a week of attack is some 30 MiB
    /// of journal.
    #[must_use]
    pub fn of_strangers() -> Self {
        Self::new(20, Duration::from_secs(60))
    }

    /// For deliveries that are verified, each a row of the inbox. Journald itself would drop lines
    /// of any kind, warnings as well, above 10,000 in half a minute (journald.conf(5),
    /// `RateLimitBurst=`), and takes a flood's worth of processor to write them.
    pub(crate) fn of_deliveries() -> Self {
        Self::new(100, Duration::from_secs(1))
    }

    fn new(lines: u32, window: Duration) -> Self {
        let state = State { window_began: Instant::now(), written: 0, unlisted: 0 };
        Self { lines, window, state: Mutex::new(state) }
    }

    /// None if this line has to be left out, otherwise how many were since the last one.
    pub fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        if now.saturating_duration_since(state.window_began) >= self.window {
            state.window_began = now;
            state.written = 0;
        }
        if state.written == self.lines {
            state.unlisted += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.unlisted))
    }

    /// How many were left out that no line has told of.
    pub(crate) fn rest(&self) -> u64 {
        std::mem::take(&mut self.state().unlisted)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it; if somebody did, counting on is still right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let quota = LogQuota::of_strangers();
        let now = Instant::now();
        for _ in 0..quota.lines {
            assert_eq!(quota.take(now), Some(0));
        }
        for _ in 0..37 {
            assert_eq!(quota.take(now), None);
        }
        assert_eq!(quota.take(now + quota.window), Some(37));
        assert_eq!(quota.take(now + quota.window), Some(0));
        assert_eq!(quota.rest(), 0);
    }

    #[test]
    fn the_rest_is_told_once() {
        let quota = LogQuota::of_deliveries();
        let now = Instant::now();
        let written = (0..350).filter(|_| quota.take(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!((quota.rest(), quota.rest()), (250, 0));
    }
}
