//! What a receiver carries at the moment.
//!
//! For who watches it from another thread: it only counts, and holds nothing up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::body::Budget;

/// Counts that follow a [`crate::Receiver`], also after it was given to [`crate::serve`].
#[derive(Debug, Clone)]
pub struct Load {
    pub(crate) budget: Budget,
    pub(crate) waiting: Weak<()>,
    pub(crate) hashed: Arc<AtomicUsize>,
}

impl Load {
    /// Bytes of [`crate::Limits::memory`] that bodies hold, in steps of 1 KiB.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.budget.held()
    }

    /// Deliveries that are with the inbox's thread and have no answer yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // One is the writer's own.
        self.waiting.strong_count().saturating_sub(1)
    }

    /// Bytes that were hashed to compare signatures, so far: what a wrong one costs.
    #[must_use]
    pub fn hashed(&self) -> usize {
        self.hashed.load(Ordering::Relaxed)
    }
}
