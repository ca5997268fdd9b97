//! How many of a worker's connections to services each service has, so that none has them all.
//!
//! Counted per worker, as the places are: one that is busy on one worker must not use up what there
//! is on it because another has plenty.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::upstream::BackendKey;

/// A worker's services, and how many connections to each are open.
#[derive(Debug)]
pub(crate) struct Shares {
    open: RefCell<HashMap<BackendKey, Arc<AtomicUsize>>>,
    most: usize,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Share(Arc<AtomicUsize>);

impl Shares {
    /// At most half of `places` for each.
    pub(crate) fn of(places: usize) -> Self {
        Self { open: RefCell::default(), most: (places / 2).max(1) }
    }

    /// One more connection to a service; none if it has its share already.
    pub(crate) fn take(&self, key: &BackendKey) -> Option<Share> {
        let mut services = self.open.borrow_mut();
        let open = match services.get(key) {
            Some(open) => Arc::clone(open),
            None => Arc::clone(services.entry(key.clone()).or_default()),
        };
        // No other thread counts here.
        if open.load(Ordering::Relaxed) >= self.most {
            return None;
        }
        open.fetch_add(1, Ordering::Relaxed);
        Some(Share(open))
    }

    /// Forgets services that are none of these. What is open to them ends by itself.
    pub(crate) fn keep_only(&self, keys: &HashSet<&BackendKey>) {
        self.open.borrow_mut().retain(|key, _| keys.contains(key));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use kennel_core::DeploymentId;

    use super::*;

    #[test]
    fn each_has_half() {
        let shares = Shares::of(4);
        let key = |id| BackendKey::Deployment(DeploymentId::from_row(id));
        let (one, two) = (shares.take(&key(1)).unwrap(), shares.take(&key(1)).unwrap());
        assert!(shares.take(&key(1)).is_none());
        let other = shares.take(&key(2)).unwrap();
        drop(one);
        assert!(shares.take(&key(1)).is_some());
        shares.keep_only(&HashSet::from([&key(2)]));
        assert_eq!(shares.open.borrow().len(), 1);
        drop((two, other));
        assert!(Shares::of(1).take(&key(1)).is_some(), "one is not halved");
    }
}
