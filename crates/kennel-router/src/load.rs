//! How many requests to a service are under way, all workers together.
//!
//! Handed on from table to table, since a new one changes nothing of what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One service's. A line of the cache for itself, since every request writes here.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load(AtomicUsize);

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Underway(Arc<Load>);

impl Load {
    /// One more request; none if there are `most` already.
    pub(crate) fn begin(self: &Arc<Self>, most: usize) -> Option<Underway> {
        let is_room = self.0.fetch_add(1, Ordering::Relaxed) < most;
        if !is_room {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        is_room.then(|| Underway(Arc::clone(self)))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_there_may_be_has_to_wait_for_an_end() {
        let load = Arc::new(Load::default());
        let (one, two) = (load.begin(2).unwrap(), load.begin(2).unwrap());
        assert!(load.begin(2).is_none());
        drop(one);
        let three = load.begin(2).unwrap();
        assert!(load.begin(2).is_none());
        drop((two, three));
        assert!(load.begin(1).is_some());
    }
}
