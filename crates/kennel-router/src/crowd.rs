//! How many connections each client has open, so that none takes everybody's places.
//!
//! Asked once per connection and never on the way of a request, which is why a lock is good enough;
//! it is one of many.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::network::Network;

const PARTS: usize = 16;

/// Everybody who is connected.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    hasher: RandomState,
    parts: [Mutex<HashMap<Network, u32>>; PARTS],
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    who: Network,
}

impl Crowd {
    /// A place for one more of `who`; none if there are `most` already.
    pub(crate) fn enter(self: &Arc<Self>, who: Network, most: u32) -> Option<Seat> {
        let mut part = self.part(who)?;
        let open = part.entry(who).or_default();
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Seat { crowd: Arc::clone(self), who })
    }

    fn part(&self, who: Network) -> Option<MutexGuard<'_, HashMap<Network, u32>>> {
        let at = usize::try_from(self.hasher.hash_one(who)).unwrap_or_default() % PARTS;
        Some(self.parts.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(mut part) = self.crowd.part(self.who) else { return };
        if let Some(open) = part.get_mut(&self.who) {
            *open -= 1;
            if *open == 0 {
                part.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_number_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::default());
        let who = |text: &str| Network::from(text.parse::<std::net::IpAddr>().unwrap());
        let enter = |text| crowd.enter(who(text), 2);
        let first = enter("192.0.2.1").unwrap();
        let second = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop((second, other, third));
        assert!(crowd.parts.iter().all(|part| part.lock().unwrap().is_empty()));
    }
}
