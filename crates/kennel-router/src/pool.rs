//! A worker's idle connections to services: last in, first out, kept by deployment.
//!
//! One per worker, so that no lock and no other core is involved. Holds nothing for long: services
//! close idle connections by themselves, and the race with that is what is avoided here.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::direct::Direct;
use crate::request_body::Gate;
use crate::trunk::Slot;
use crate::upstream::{BackendKey, Upstream};

/// The idle connections of one kind.
pub(crate) struct Pool<C> {
    idle: RefCell<HashMap<BackendKey, Vec<Idle<C>>>>,
    most: usize,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

/// What may be used again.
pub(crate) trait Reusable {
    /// Whether it cannot be used any more.
    fn is_closed(&self) -> bool;
    /// Whether it can be used now.
    fn is_ready(&self) -> bool;
}

impl Reusable for Upstream {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn is_ready(&self) -> bool {
        // Not so before its task has run once since its last answer ended.
        self.sender.is_ready()
    }
}

impl Reusable for Direct {
    fn is_closed(&self) -> bool {
        !self.is_quiet()
    }

    fn is_ready(&self) -> bool {
        true
    }
}

impl<C: Reusable> Pool<C> {
    /// Keeps at most `most` per backend.
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: RefCell::default(), most }
    }

    /// The connection that was used last, if that is at most `age` ago.
    pub(crate) fn take(&self, key: &BackendKey, age: Duration) -> Option<C> {
        let mut pool = self.idle.borrow_mut();
        let idle = pool.get_mut(key)?;
        let now = Instant::now();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let candidate = idle.get(at)?;
            // Those below are older still.
            if now.saturating_duration_since(candidate.since) > age {
                return None;
            }
            if candidate.connection.is_closed() {
                idle.remove(at);
            } else if candidate.connection.is_ready() {
                return Some(idle.remove(at).connection);
            }
        }
        None
    }

    /// Keeps it for the next one, if it is still good.
    pub(crate) fn give_back(&self, key: &BackendKey, connection: C) {
        if connection.is_closed() {
            return;
        }
        let mut pool = self.idle.borrow_mut();
        let since = Instant::now();
        match pool.get_mut(key) {
            Some(idle) if idle.len() < self.most => idle.push(Idle { connection, since }),
            Some(_) => {}
            None => {
                pool.insert(key.clone(), vec![Idle { connection, since }]);
            }
        }
    }

    /// Closes those that have been idle for longer than `age`.
    pub(crate) fn sweep(&self, now: Instant, age: Duration) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| now.saturating_duration_since(idle.since) <= age);
            !idle.is_empty()
        });
    }

    /// Closes those that lead to none of these.
    pub(crate) fn keep_only(&self, keys: &HashSet<&BackendKey>) {
        self.idle.borrow_mut().retain(|key, _| keys.contains(key));
    }

    /// Whether it holds none.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}

/// What an answer comes over. Dropped, it ends.
pub(crate) enum Lease {
    /// A connection of its own.
    Connection(Kept),
    /// One of a connection's streams.
    Stream(Slot),
}

impl Lease {
    /// The answer has ended: what it came over can be used again.
    pub(crate) fn give_back(self) {
        match self {
            Self::Connection(kept) => kept.give_back(),
            Self::Stream(slot) => drop(slot),
        }
    }
}

/// A connection that is being used. Dropped, it is closed.
pub(crate) struct Kept {
    pub(crate) upstream: Upstream,
    pub(crate) key: BackendKey,
    pub(crate) pool: Rc<Pool<Upstream>>,
    /// The gate before the request's body, which ends with the answer.
    pub(crate) gate: Option<Gate>,
}

impl Kept {
    fn give_back(self) {
        if let Some(gate) = &self.gate
            && gate.is_closed()
        {
            // The service answered without wanting the body: the connection is in the middle of
            // a request, and ends here.
            gate.close();
            return;
        }
        self.pool.give_back(&self.key, self.upstream);
    }
}
