//! Small files in memory, up to a budget.
//!
//! A file that is held is found without a lock; the lock here is taken only when one is taken in.
//! What was used since the hand last came by gets another round (the "clock" rule), so that one
//! crawl does not push out what is asked for all the time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use hyper::header::HeaderValue;

use super::file::File;
use super::packer::Packer;

/// The files held, and where the store is.
#[derive(Debug)]
pub(crate) struct Shelf {
    store: PathBuf,
    budget: usize,
    used: Arc<AtomicUsize>,
    ring: Mutex<VecDeque<Weak<File>>>,
    packer: Packer,
}

/// A file's bytes, as they are held.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) bytes: Bytes,
    pub(super) tag: HeaderValue,
    used: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Shelf {
    /// For sites below `store`, holding at most `budget` bytes.
    pub(crate) fn new(store: PathBuf, budget: usize) -> Self {
        let (used, ring) = Default::default();
        Self { store, budget, used, ring, packer: Packer::start() }
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// Has a form of a file made. Whether the order was taken.
    pub(super) fn order(&self, file: &Arc<File>) -> bool {
        self.packer.order(Arc::downgrade(file))
    }

    /// Counts bytes that were just read.
    pub(super) fn held(&self, bytes: Bytes, tag: HeaderValue) -> Held {
        self.used.fetch_add(bytes.len(), Ordering::Relaxed);
        Held { bytes, tag, used: Arc::clone(&self.used) }
    }

    /// Takes `file` in, and lets go of others until the budget is kept. On a blocking thread.
    pub(super) fn take_in(&self, file: &Arc<File>) {
        // A panic while this is held leaves the ring whole: it only pushes and pops.
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push_back(Arc::downgrade(file));
        // Each one gets at most one more round per call.
        let mut rounds = ring.len().saturating_mul(2);
        while self.used.load(Ordering::Relaxed) > self.budget && rounds > 0 {
            rounds -= 1;
            let Some(oldest) = ring.pop_front() else { break };
            let Some(file) = oldest.upgrade() else { continue };
            if file.was_used() {
                ring.push_back(oldest);
            } else {
                file.let_go();
            }
        }
        // Sites that are gone leave their entries behind.
        if ring.len() > 1024
            && ring.iter().filter(|file| file.strong_count() == 0).count() > ring.len() / 2
        {
            ring.retain(|file| file.strong_count() > 0);
        }
    }
}
