//! What a service is busy with, all workers together: requests under way and connections open.
//!
//! Handed on from table to table, since a new one changes nothing of what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One service's. A line of the cache for itself, since every request writes here.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load {
    requests: AtomicUsize,
    connections: AtomicUsize,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Underway(Arc<Load>);

/// A connection that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Load>);

impl Load {
    /// One more request; none if there are `most` already.
    pub(crate) fn begin(self: &Arc<Self>, most: usize) -> Option<Underway> {
        up(&self.requests, most).then(|| Underway(Arc::clone(self)))
    }

    /// One more connection; none if there are `most` already.
    pub(crate) fn connect(self: &Arc<Self>, most: usize) -> Option<Connected> {
        up(&self.connections, most).then(|| Connected(Arc::clone(self)))
    }
}

fn up(count: &AtomicUsize, most: usize) -> bool {
    let is_room = count.fetch_add(1, Ordering::Relaxed) < most;
    if !is_room {
        count.fetch_sub(1, Ordering::Relaxed);
    }
    is_room
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_connections_are_counted_apart() {
        let load = Arc::new(Load::default());
        let (one, two) = (load.begin(2).unwrap(), load.begin(2).unwrap());
        assert!(load.begin(2).is_none());
        let connected = load.connect(1).unwrap();
        assert!(load.connect(1).is_none());
        drop(one);
        let three = load.begin(2).unwrap();
        assert!(load.begin(2).is_none());
        drop((two, three, connected));
        assert!(load.begin(1).is_some());
        assert!(load.connect(1).is_some());
    }
}
