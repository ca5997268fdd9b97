//! A request and its answer, as their parts know them: what is being waited for, since when.
//!
//! Apart from the connection because an HTTP/2 connection has many at a time, and one that waits in
//! vain ends without the others.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::client::Client;
use crate::limits::{Limits, is_over};

/// A request and its answer.
pub(crate) struct Exchange {
    /// Whose it is.
    pub(crate) client: Rc<Client>,
    body_awaited: Cell<Option<Instant>>,
    body_broken: Cell<bool>,
    answer_awaited: Cell<Option<Instant>>,
    /// Since when the client takes nothing of the answer that is there. HTTP/2 only: elsewhere it is
    /// the connection that is blocked.
    answer_offered: Cell<Option<Instant>>,
    is_tunnel: Cell<bool>,
    late: Cell<bool>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Keeps an exchange counted as under way until its answer's body has been handed over.
pub(crate) struct Turn {
    exchange: Rc<Exchange>,
    complete: bool,
}

impl Turn {
    pub(crate) fn new(exchange: Rc<Exchange>) -> Self {
        Self { exchange, complete: false }
    }

    /// Nothing is missing of the answer.
    pub(crate) fn completes(&mut self) {
        self.complete = true;
    }
}

impl Deref for Turn {
    type Target = Rc<Exchange>;

    fn deref(&self) -> &Rc<Exchange> {
        &self.exchange
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.exchange.client.ended(&self.exchange, self.complete);
    }
}

impl Exchange {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        Self {
            client,
            body_awaited: Cell::new(None),
            body_broken: Cell::new(false),
            answer_awaited: Cell::new(None),
            answer_offered: Cell::new(None),
            is_tunnel: Cell::new(false),
            late: Cell::new(false),
            cut: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Somebody waits for more of the request's body.
    pub(crate) fn body_awaited(&self) {
        if self.body_awaited.get().is_none() {
            self.body_awaited.set(Some(Instant::now()));
        }
    }

    /// A piece of the request's body came.
    pub(crate) fn body_moved(&self) {
        self.body_awaited.set(None);
        if self.answer_awaited.get().is_some() {
            self.answer_awaited.set(Some(Instant::now()));
        }
    }

    /// The request's body came to its end.
    pub(crate) fn body_complete(&self) {
        self.body_moved();
        self.client.body_complete();
    }

    /// The request's body broke: the client is gone, or sent what is no body.
    pub(crate) fn body_failed(&self) {
        self.body_awaited.set(None);
        self.body_broken.set(true);
    }

    /// Nobody reads the body any more.
    pub(crate) fn body_dropped(&self) {
        self.body_awaited.set(None);
    }

    /// Whether the request's body broke.
    pub(crate) fn is_body_broken(&self) -> bool {
        self.body_broken.get()
    }

    /// Since when the client owes more of the body.
    pub(crate) fn owes_since(&self) -> Option<Instant> {
        self.body_awaited.get()
    }

    /// A service's answer is being waited for, or not any more.
    pub(crate) fn answer_awaited(&self, awaited: bool) {
        self.answer_awaited.set(awaited.then(Instant::now));
    }

    /// A piece of the answer's body was handed over, or there is none yet.
    pub(crate) fn answer_offered(&self, offered: bool) {
        if self.client.is_multiplexed() {
            self.answer_offered.set(offered.then(Instant::now));
        }
    }

    /// It has no end by itself from here on.
    pub(crate) fn becomes_tunnel(&self) {
        self.is_tunnel.set(true);
        // The stream's own task ends with its answer; the tunnel's is remembered next.
        self.waker.take();
    }

    /// Whether it has no end by itself.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.is_tunnel.get()
    }

    /// Whether the service has not answered in time.
    pub(crate) fn is_late(&self) -> bool {
        self.late.get()
    }

    /// Ends it without a word, and with it its stream.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Whether it has to end.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Remembers the task of its stream.
    pub(crate) fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn wake(&self) {
        match self.waker.borrow().as_ref() {
            Some(waker) => waker.wake_by_ref(),
            // Without streams it is a part of the connection's task.
            None => self.client.wake(),
        }
    }

    /// Compares its deadlines with `now`.
    pub(crate) fn sweep(&self, now: Instant, limits: &Limits) {
        let over = |since, limit| is_over(since, now, limit);
        if over(self.body_awaited.get(), limits.stalled) {
            if self.client.is_multiplexed() { self.cut() } else { self.client.close() }
        } else if over(self.answer_offered.get(), limits.paused) {
            self.cut();
        } else if over(self.answer_awaited.get(), limits.first_byte) && !self.late.replace(true) {
            self.wake();
        }
    }
}
