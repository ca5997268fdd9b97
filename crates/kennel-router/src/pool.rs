//! A worker's idle connections to services: last in, first out, kept by deployment.
//!
//! One per worker, so that no lock and no other core is involved. Holds nothing for long: services
//! close idle connections by themselves, and the race with that is what is avoided here.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::request_body::Gate;
use crate::upstream::{BackendKey, Upstream};

/// The idle connections.
pub(crate) struct Pool {
    idle: RefCell<HashMap<BackendKey, Vec<Idle>>>,
    most: usize,
}

struct Idle {
    upstream: Upstream,
    since: Instant,
}

impl Pool {
    /// Keeps at most `most` per backend.
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: RefCell::default(), most }
    }

    /// The connection that was used last, if that is at most `age` ago.
    pub(crate) fn take(&self, key: &BackendKey, age: Duration) -> Option<Upstream> {
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
            if candidate.upstream.sender.is_closed() {
                idle.remove(at);
            } else if candidate.upstream.sender.is_ready() {
                return Some(idle.remove(at).upstream);
            }
            // Not ready yet: its task has not run since its last answer ended.
        }
        None
    }

    fn give_back(&self, key: &BackendKey, upstream: Upstream) {
        if upstream.sender.is_closed() {
            return;
        }
        let mut pool = self.idle.borrow_mut();
        let since = Instant::now();
        match pool.get_mut(key) {
            Some(idle) if idle.len() < self.most => idle.push(Idle { upstream, since }),
            Some(_) => {}
            None => {
                pool.insert(key.clone(), vec![Idle { upstream, since }]);
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

/// A connection that is being used. Dropped, it is closed.
pub(crate) struct Lease {
    pub(crate) upstream: Upstream,
    pub(crate) key: BackendKey,
    pub(crate) pool: Rc<Pool>,
    /// The gate before the request's body, which ends with the answer.
    pub(crate) gate: Option<Gate>,
}

impl Lease {
    /// The answer has ended: the connection can be used again.
    pub(crate) fn give_back(self) {
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
