//! Who is being listened to, and who has to go when there is no place for another.
//!
//! A sender that takes its time costs a connection and memory for as long as it may, and whoever
//! opens enough of them would keep everybody else out without knowing a secret. So nobody is
//! kept out: when there is no place, the one that has been sending for the longest leaves. A forge
//! has sent all it has within milliseconds. Never touches a delivery that is whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;

/// The connections that are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Debug, Default)]
struct Seats {
    /// In the order in which they came.
    taken: BTreeMap<u64, Guest>,
    next: u64,
}

#[derive(Debug)]
struct Guest {
    since: Instant,
    /// Whether more of its request is to come.
    sends: bool,
    /// Whether its body takes of what all large ones share.
    is_large: bool,
    leave: Arc<Notify>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    room: Room,
    number: u64,
    leave: Arc<Notify>,
}

/// What is to be made room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Place,
    /// Of any but this one.
    Memory(u64),
}

impl Room {
    pub(crate) fn enter(&self) -> Seat {
        let leave = Arc::new(Notify::new());
        let guest = Guest {
            since: Instant::now(),
            sends: true,
            is_large: false,
            leave: Arc::clone(&leave),
        };
        let mut seats = self.seats();
        let number = seats.next;
        seats.next += 1;
        seats.taken.insert(number, guest);
        Seat { room: self.clone(), number, leave }
    }

    /// When one more may come in: now, or when one of those inside has been sending for long
    /// enough; none if they all only wait for their answers.
    pub(crate) fn opens_at(&self, limits: &Limits) -> Option<Instant> {
        let seats = self.seats();
        if seats.taken.len() < limits.connections {
            return Some(Instant::now());
        }
        seats.oldest(Need::Place).map(|(_, guest)| guest.since + limits.patience)
    }

    /// Has one leave if there are more inside than may be. Says whether it did.
    pub(crate) fn keep_within(&self, limits: &Limits) -> bool {
        let mut seats = self.seats();
        seats.taken.len() > limits.connections && seats.send_away(Need::Place, limits.patience)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nobody panics while holding it; if somebody did, the seats would still be right.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn oldest(&self, need: Need) -> Option<(u64, &Guest)> {
        let may_go = |number: u64, guest: &Guest| match need {
            Need::Place => guest.sends,
            Need::Memory(of) => guest.sends && guest.is_large && number != of,
        };
        self.taken
            .iter()
            .map(|(number, guest)| (*number, guest))
            .find(|(number, guest)| may_go(*number, guest))
    }

    fn send_away(&mut self, need: Need, patience: Duration) -> bool {
        let Some((number, guest)) = self.oldest(need) else { return false };
        if guest.since.elapsed() < patience {
            return false;
        }
        guest.leave.notify_one();
        self.taken.remove(&number);
        true
    }
}

impl Seat {
    /// Ready when the connection has to make room.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Its request is whole: from now on it is never asked to leave.
    pub fn has_sent_all(&self) {
        self.change(|guest| guest.sends = false);
    }

    /// Its body takes of what all large ones share.
    pub(crate) fn is_large(&self) {
        self.change(|guest| guest.is_large = true);
    }

    /// Has another one leave whose large body is still coming. Says whether there was one.
    pub(crate) fn take_memory(&self, patience: Duration) -> bool {
        self.room.seats().send_away(Need::Memory(self.number), patience)
    }

    fn change(&self, change: impl FnOnce(&mut Guest)) {
        // One that was asked to leave has lost its seat already.
        if let Some(guest) = self.room.seats().taken.get_mut(&self.number) {
            change(guest);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { connections: 2, patience: Duration::ZERO, ..Limits::default() }
    }

    /// Whether the seat was asked to leave.
    fn leaves(seat: &Seat) -> bool {
        use std::task::{Context, Waker};
        let asked = std::pin::pin!(seat.asked_to_leave());
        asked.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_has_been_sending_for_the_longest_leaves() {
        let room = Room::default();
        let (first, second) = (room.enter(), room.enter());
        first.has_sent_all();
        assert!(!room.keep_within(&limits()));
        let third = room.enter();
        assert!(room.keep_within(&limits()));
        assert!(leaves(&second) && !leaves(&first) && !leaves(&third));
        assert!(!room.keep_within(&limits()));
    }

    #[test]
    fn nobody_leaves_who_waits_for_an_answer_or_has_just_come() {
        let room = Room::default();
        let seats = [room.enter(), room.enter(), room.enter()];
        assert!(!room.keep_within(&Limits { patience: Duration::from_secs(60), ..limits() }));
        let opens = room.opens_at(&limits()).unwrap();
        assert!(opens <= Instant::now());
        seats.iter().for_each(Seat::has_sent_all);
        assert_eq!(room.opens_at(&limits()), None);
        assert!(!room.keep_within(&limits()));
        drop(seats);
        assert!(room.opens_at(&limits()).is_some());
    }

    #[test]
    fn memory_is_taken_from_another_large_one() {
        let room = Room::default();
        let (small, first, second) = (room.enter(), room.enter(), room.enter());
        first.is_large();
        second.is_large();
        assert!(second.take_memory(Duration::ZERO));
        assert!(leaves(&first) && !leaves(&small) && !leaves(&second));
        assert!(!second.take_memory(Duration::ZERO));
    }
}
