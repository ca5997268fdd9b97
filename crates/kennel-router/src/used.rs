//! When a route was used last.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use kennel_core::Timestamp;

/// A moment that every worker may move, in whole seconds: within one of them it is only read, so that
/// workers that serve the same host do not take its cache line from each other with each request.
#[derive(Debug, Default)]
pub(crate) struct Used(AtomicI64);

impl Used {
    /// Somebody asks for something now.
    pub(crate) fn now(&self) {
        let second = Timestamp::from(SystemTime::now()).millis() / 1000;
        if self.0.load(Ordering::Relaxed) != second {
            self.0.store(second, Ordering::Relaxed);
        }
    }

    /// When somebody last did, if anybody has since the router started.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        let second = self.0.load(Ordering::Relaxed);
        (second != 0).then(|| Timestamp::from_millis(second * 1000))
    }
}
