//! A request and its answer, as their parts know them: what is being waited for, since when.
//!
//! Apart from the connection because an HTTP/2 connection has many at a time, and one that waits in
//! vain ends without the others.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use kennel_core::DeploymentId;

use crate::client::Client;
use crate::forwarded::Peer;
use crate::limits::{Limits, is_over};
use crate::load::Underway;
use crate::notes::Notes;
use crate::table::Came;
use crate::traffic::{Share, Visit};
use crate::watch::InUse;

/// A request and its answer.
pub(crate) struct Exchange {
    /// Whose it is.
    pub(crate) client: Rc<Client>,
    /// Whom a trusted proxy asks for, if it is one.
    vouched: OnceCell<Box<Peer>>,
    /// What is noted of it, if anything is.
    notes: OnceCell<Box<Notes>>,
    /// Its place among those of the service that answers.
    underway: Cell<Option<Underway>>,
    body_too_long: Cell<bool>,
    body_awaited: Cell<Option<Instant>>,
    body_broken: Cell<bool>,
    answer_awaited: Cell<Option<Instant>>,
    /// What counts it, from when it is known whose it is.
    visit: OnceCell<Visit>,
    /// Since when the client takes nothing of the answer that is there. HTTP/2 only: elsewhere it is
    /// the connection that is blocked.
    answer_offered: Cell<Option<Instant>>,
    is_tunnel: Cell<bool>,
    /// Whether it takes as long as its two sides like.
    lasting: Cell<bool>,
    /// Whether its answer is one that nobody ends of themselves.
    endless: Cell<bool>,
    /// The deployment that answers, if one does.
    deployment: Cell<Option<DeploymentId>>,
    late: Cell<bool>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// What it is counted as at the service that answers it, if that is counted.
    in_use: RefCell<Option<InUse>>,
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
        // Whatever still knows it, nothing is under way any more.
        drop(self.exchange.take_count());
        self.exchange.leaves_service();
        if let Some(notes) = self.exchange.notes() {
            notes.end(&self.exchange, self.complete);
        }
        self.exchange.client.ended(&self.exchange, self.complete);
    }
}

impl Exchange {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        Self {
            client,
            vouched: OnceCell::new(),
            notes: OnceCell::new(),
            underway: Cell::new(None),
            body_too_long: Cell::new(false),
            body_awaited: Cell::new(None),
            body_broken: Cell::new(false),
            answer_awaited: Cell::new(None),
            visit: OnceCell::new(),
            answer_offered: Cell::new(None),
            is_tunnel: Cell::new(false),
            lasting: Cell::new(false),
            endless: Cell::new(false),
            deployment: Cell::new(None),
            late: Cell::new(false),
            cut: Cell::new(false),
            waker: RefCell::new(None),
            in_use: RefCell::new(None),
        }
    }

    /// A trusted proxy asks for this one.
    pub(crate) fn is_for(&self, peer: Peer) {
        // Said once, when the request has come.
        let _known = self.vouched.set(Box::new(peer));
    }

    /// Who asks: the one place that says so, whatever lies between.
    pub(crate) fn peer(&self) -> &Peer {
        match self.vouched.get() {
            Some(vouched) => vouched,
            None => self.client.peer(),
        }
    }

    /// The client's address, IPv4 never written as IPv6.
    pub(crate) fn address(&self) -> IpAddr {
        self.peer().address()
    }

    /// Whether the client speaks HTTPS, with the router or with a trusted proxy.
    pub(crate) fn is_secured(&self) -> bool {
        self.peer().is_secured()
    }

    /// Whether a trusted proxy asks.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.vouched.get().is_some()
    }

    /// These are to be kept of it.
    pub(crate) fn note(&self, notes: Notes) {
        let _known = self.notes.set(Box::new(notes));
    }

    /// What is noted of it, if anything is.
    pub(crate) fn notes(&self) -> Option<&Notes> {
        self.notes.get().map(|notes| &**notes)
    }

    /// It has one of the places of a service.
    pub(crate) fn enters_service(&self, underway: Underway) {
        self.underway.set(Some(underway));
    }

    /// It needs that no more.
    pub(crate) fn leaves_service(&self) {
        drop(self.underway.take());
    }

    /// How it came.
    pub(crate) fn came(&self) -> Came<'_> {
        match self.client.secured() {
            Some(host) if self.is_secured() => Came::Secured(host),
            None if self.is_secured() => Came::SecuredElsewhere,
            Some(_) | None => Came::Plainly,
        }
    }

    /// It is counted here from now on.
    pub(crate) fn visits(&self, share: Arc<Share>) {
        // There is one route for each.
        let _known = self.visit.set(Visit::begin(share));
    }

    /// What counts it, if it is known whose it is.
    pub(crate) fn visit(&self) -> Option<&Visit> {
        self.visit.get()
    }

    /// It is over.
    pub(crate) fn ended(&self, now: Instant) {
        if let Some(visit) = self.visit.get() {
            visit.ended(now, self.is_tunnel.get());
        }
    }

    /// It counts as this for as long as it is under way.
    pub(crate) fn counts_as(&self, in_use: InUse) {
        self.in_use.replace(Some(in_use));
    }

    /// What it counted as, for the tunnel that goes on in its place.
    pub(crate) fn take_count(&self) -> Option<InUse> {
        self.in_use.take()
    }

    /// Somebody waits for more of the request's body.
    pub(crate) fn body_awaited(&self) {
        if self.body_awaited.get().is_none() && !self.lasting.get() {
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

    /// The request's body is longer than its service takes.
    pub(crate) fn body_exceeds(&self) {
        self.body_too_long.set(true);
    }

    /// Whether the request's body was longer than its service takes.
    pub(crate) fn is_body_too_long(&self) -> bool {
        self.body_too_long.get()
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
        let awaited = awaited && !self.lasting.get();
        self.answer_awaited.set(awaited.then(Instant::now));
    }

    /// A piece of the answer's body was handed over, or there is none yet.
    pub(crate) fn answer_offered(&self, offered: bool) {
        if self.client.is_multiplexed() {
            self.answer_offered.set(offered.then(Instant::now));
        }
    }

    /// Nobody has to hurry from here on: neither the service with its answer nor the client with its
    /// body.
    pub(crate) fn lasts(&self) {
        self.lasting.set(true);
        self.body_awaited.set(None);
    }

    /// This deployment answers.
    pub(crate) fn is_answered_by(&self, deployment: Option<DeploymentId>) {
        self.deployment.set(deployment);
    }

    /// Its answer is one that nobody ends of themselves.
    pub(crate) fn is_endless(&self) {
        self.endless.set(true);
    }

    /// The time of a deployment is over: what has no end breaks off, and its client sees so. What has
    /// one may be finished while the service leaves, which is being asked to now.
    pub(crate) fn end_of(&self, deployment: DeploymentId) {
        if self.deployment.get() != Some(deployment) || !self.endless.get() {
            return;
        }
        if self.client.is_multiplexed() { self.cut() } else { self.client.close() }
    }

    /// It has no end by itself from here on.
    pub(crate) fn becomes_tunnel(&self) {
        self.is_tunnel.set(true);
        // The stream's own task ends with its answer; the tunnel's is remembered next.
        self.waker.take();
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
