//! What is under way to one deployment, and who waits for it.
//!
//! Only of services that somebody may want to stop between two requests: the others have none, and
//! nothing is counted for them. All workers share it, and a new table takes it over from the old
//! one, so that a count outlives every reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kennel_core::Use;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::HELD;

/// Set beside the count of requests while the deployment is being stopped: nobody is sent to it.
const RESTS: u64 = 1 << 63;

/// The counts of one deployment.
#[derive(Debug)]
pub(crate) struct Watch {
    requests: AtomicU64,
    /// In milliseconds of [`Watch::clock`].
    rests_until: AtomicU64,
    born: Instant,
    tunnels: AtomicU64,
    /// Places for requests that wait until somebody may be asked.
    places: Semaphore,
}

/// One request, or one tunnel, for as long as it lives.
#[derive(Debug)]
pub(crate) struct InUse {
    watch: Arc<Watch>,
    is_tunnel: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
            born: Instant::now(),
            tunnels: AtomicU64::new(0),
            places: Semaphore::new(HELD),
        }
    }
}

impl Watch {
    /// A request is under way from here on; none while the deployment rests.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<InUse> {
        let before = self.requests.fetch_add(1, Ordering::SeqCst);
        if before & RESTS != 0 && self.rests() {
            self.requests.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some(InUse { watch: Arc::clone(self), is_tunnel: false })
    }

    /// Sends nobody to it for at most so long, if nobody is there: who stops it may be killed
    /// meanwhile. Says whether it is so.
    pub(crate) fn rest(&self, most: Duration) -> bool {
        let until = self.clock() + u64::try_from(most.as_millis()).unwrap_or(u64::MAX / 2);
        let order = Ordering::SeqCst;
        self.rests_until.store(until, order);
        let nobody_was = self.requests.compare_exchange(0, RESTS, order, order).is_ok();
        // A tunnel begins as a request: there is none that is counted nowhere.
        if nobody_was && (self.tunnels.load(order) > 0 || self.waiting() > 0) {
            self.end_rest();
            return false;
        }
        nobody_was
    }

    /// It can be asked again, or rung for.
    pub(crate) fn end_rest(&self) {
        self.requests.fetch_and(!RESTS, Ordering::SeqCst);
    }

    /// Whether it rests at the moment.
    pub(crate) fn rests(&self) -> bool {
        if self.requests.load(Ordering::SeqCst) & RESTS == 0 {
            return false;
        }
        let is_over = self.clock() >= self.rests_until.load(Ordering::SeqCst);
        if is_over {
            self.end_rest();
        }
        !is_over
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn waiting(&self) -> u64 {
        HELD.saturating_sub(self.places.available_permits()) as u64
    }

    /// A place to wait in; none if too many do.
    pub(crate) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// What is under way now.
    pub(crate) fn now(&self) -> Use {
        Use {
            requests: self.requests.load(Ordering::SeqCst) & !RESTS,
            tunnels: self.tunnels.load(Ordering::SeqCst),
            waiting: self.waiting(),
        }
    }
}

impl InUse {
    /// The request has become a tunnel.
    pub(crate) fn becomes_tunnel(mut self) -> Self {
        if !self.is_tunnel {
            // In this order, so that it is never counted nowhere.
            self.watch.tunnels.fetch_add(1, Ordering::SeqCst);
            self.watch.requests.fetch_sub(1, Ordering::SeqCst);
            self.is_tunnel = true;
        }
        self
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let count = if self.is_tunnel { &self.watch.tunnels } else { &self.watch.requests };
        count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_requests_and_tunnels() {
        let watch = Arc::new(Watch::default());
        let (one, two) = (watch.enter().unwrap(), watch.enter().unwrap());
        assert_eq!(watch.now(), Use { requests: 2, ..Use::default() });
        let two = two.becomes_tunnel();
        drop(one);
        assert_eq!(watch.now(), Use { tunnels: 1, ..Use::default() });
        drop(two);
        assert_eq!(watch.now(), Use::default());
    }

    #[test]
    fn rests_when_nobody_is_there() {
        const LONG: Duration = Duration::from_secs(3600);
        let watch = Arc::new(Watch::default());
        let one = watch.enter().unwrap();
        assert!(!watch.rest(LONG) && !watch.rests());
        let tunnel = one.becomes_tunnel();
        assert!(!watch.rest(LONG) && !watch.rests());
        drop(tunnel);
        assert!(watch.rest(LONG) && watch.rests());
        assert!(watch.enter().is_none());
        assert_eq!(watch.now(), Use::default());
        watch.end_rest();
        assert!(watch.enter().is_some());
        // Nobody said that it is over.
        assert!(watch.rest(Duration::ZERO));
        assert!(watch.enter().is_some());
        assert!(!watch.rests());
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let watch = Watch::default();
        let mut places: Vec<_> = (0..HELD).map(|_| watch.place().unwrap()).collect();
        assert!(watch.place().is_none());
        assert_eq!(watch.now(), Use { waiting: HELD as u64, ..Use::default() });
        places.pop();
        assert!(watch.place().is_some());
    }
}
