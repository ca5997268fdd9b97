//! How much strangers may write into the journal.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines about unverified requests in each [`WINDOW`].
const LINES: u32 = 20;
/// With 20 lines a minute, a week of attack is some 30 MiB of journal.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts lines, and those that were not written.
#[derive(Debug)]
pub(crate) struct LogQuota {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window_began: Instant,
    written: u32,
    unlisted: u64,
}

impl LogQuota {
    pub(crate) fn new() -> Self {
        let state = State { window_began: Instant::now(), written: 0, unlisted: 0 };
        Self { state: Mutex::new(state) }
    }

    /// None if this line has to be left out, otherwise how many were since the last one.
    pub(crate) fn take(&self, now: Instant) -> Option<u64> {
        // Nobody panics while holding it; if somebody did, counting on is still right.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_duration_since(state.window_began) >= WINDOW {
            state.window_began = now;
            state.written = 0;
        }
        if state.written == LINES {
            state.unlisted += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.unlisted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let quota = LogQuota::new();
        let now = Instant::now();
        for _ in 0..LINES {
            assert_eq!(quota.take(now), Some(0));
        }
        for _ in 0..37 {
            assert_eq!(quota.take(now), None);
        }
        assert_eq!(quota.take(now + WINDOW), Some(37));
        assert_eq!(quota.take(now + WINDOW), Some(0));
    }
}
