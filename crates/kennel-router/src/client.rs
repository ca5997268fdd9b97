//! A client's connection, as its parts know it: what it is doing since when, and who it is.
//!
//! Deadlines are fields here and in its exchanges that one sweep per worker looks at, since a timer
//! per request costs more than the rest of this file. It never leaves its worker.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use kennel_core::DeploymentId;

use crate::exchange::{Exchange, Turn};
use crate::forwarded::Peer;
use crate::limits::{BROKEN_OFF, BROKEN_OFF_WITHIN, HEAD_BYTES, Limits, is_over};
use crate::tunnel::ServiceEnd;

/// A client's connection.
pub(crate) struct Client {
    /// Who has connected.
    connected: Peer,
    /// Whom a proxy has connected for, if it said so before the first request.
    announced: OnceCell<Peer>,
    /// The host that a TLS connection was made for.
    secured: OnceCell<Box<str>>,
    /// What the service's side of an agreed upgrade is, until the connection takes it over.
    pub(crate) tunnel: RefCell<Option<ServiceEnd>>,
    stage: Cell<Stage>,
    since: Cell<Instant>,
    write_blocked: Cell<Option<Instant>>,
    body_open: Cell<bool>,
    /// What is being answered: one at most, unless the connection carries streams.
    exchanges: RefCell<Vec<Rc<Exchange>>>,
    /// What was begun, until its stream has a task.
    newest: RefCell<Option<Rc<Exchange>>>,
    /// How many exchanges the client has broken off, since when.
    broken_off: Cell<(u32, Instant)>,
    verdict: Cell<Option<Verdict>>,
    left_quiet: Cell<bool>,
    /// Whether it has nothing to do for a while.
    at_rest: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    head: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Answering,
    Idle,
    Tunnel,
    /// HTTP/2: any number of requests at a time.
    Streams,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to end after what is under way, and to be told so. HTTP/2 only.
    Leave,
    /// It is to be closed.
    Close,
}

impl Client {
    pub(crate) fn new(peer: Peer) -> Self {
        let now = Instant::now();
        Self {
            connected: peer,
            announced: OnceCell::new(),
            secured: OnceCell::new(),
            tunnel: RefCell::new(None),
            stage: Cell::new(Stage::Head),
            since: Cell::new(now),
            write_blocked: Cell::new(None),
            body_open: Cell::new(false),
            exchanges: RefCell::default(),
            newest: RefCell::new(None),
            broken_off: Cell::new((0, now)),
            verdict: Cell::new(None),
            left_quiet: Cell::new(false),
            at_rest: Cell::new(false),
            waker: RefCell::new(None),
            head: RefCell::new(Vec::new()),
        }
    }

    /// The connection is for somebody else's.
    pub(crate) fn is_for(&self, peer: Peer) {
        // Said once, before anything else.
        let _known = self.announced.set(peer);
    }

    /// Who asks, as far as the connection knows. A request may know better
    /// ([`Exchange::peer`]).
    pub(crate) fn peer(&self) -> &Peer {
        self.announced.get().unwrap_or(&self.connected)
    }

    /// The connection is a TLS connection, made for this host.
    pub(crate) fn asks_for(&self, host: &str) {
        // Said once, since there is one handshake.
        let _known = self.secured.set(host.into());
    }

    /// The host that the connection was made for, if it is a TLS connection.
    pub(crate) fn secured(&self) -> Option<&str> {
        self.secured.get().map(AsRef::as_ref)
    }

    /// A request's head is complete.
    pub(crate) fn begin(self: &Rc<Self>, has_body: bool) -> Turn {
        if self.stage.get() == Stage::Idle {
            // A pipelined request, whose head came with an earlier one: there is no copy of it.
            self.head.borrow_mut().clear();
        }
        self.left_quiet.set(false);
        let exchange = Rc::new(Exchange::new(Rc::clone(self)));
        if self.is_multiplexed() {
            self.newest.replace(Some(Rc::clone(&exchange)));
        } else {
            self.stage.set(Stage::Answering);
            self.body_open.set(has_body);
        }
        self.exchanges.borrow_mut().push(Rc::clone(&exchange));
        Turn::new(exchange)
    }

    /// An exchange is over. One that is not complete was broken off, or failed.
    pub(crate) fn ended(&self, exchange: &Rc<Exchange>, complete: bool) {
        self.exchanges.borrow_mut().retain(|other| !Rc::ptr_eq(other, exchange));
        let now = Instant::now();
        exchange.ended(now);
        if !self.is_multiplexed() {
            self.stage.set(Stage::Idle);
        } else if !complete {
            self.breaks_off(now);
        }
        self.since.set(now);
    }

    /// Resetting streams costs a client nothing and the router a start of each (CVE-2023-44487).
    fn breaks_off(&self, now: Instant) {
        let (count, since) = self.broken_off.get();
        if now.saturating_duration_since(since) > BROKEN_OFF_WITHIN {
            self.broken_off.set((1, now));
        } else if count < BROKEN_OFF {
            self.broken_off.set((count + 1, since));
        } else {
            self.close();
        }
    }

    /// The exchange that was begun last, for the task of its stream.
    pub(crate) fn take_newest(&self) -> Option<Rc<Exchange>> {
        self.newest.take()
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self, bytes: &[u8]) {
        match self.stage.get() {
            Stage::Idle => {
                self.at_rest.set(false);
                self.stage.set(Stage::Head);
                self.since.set(Instant::now());
                let mut head = self.head.borrow_mut();
                head.clear();
                // One large head must not stay for as long as the connection does.
                head.shrink_to(4096);
                head.extend_from_slice(bytes);
            }
            Stage::Head => {
                let mut head = self.head.borrow_mut();
                let room = HEAD_BYTES.saturating_sub(head.len()).min(bytes.len());
                head.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
            Stage::Answering | Stage::Tunnel | Stage::Streams => {}
        }
    }

    /// Whether nothing is under way and has not been for a while, so that what is held for the next
    /// request may go. Only where the bare stream says when that comes.
    pub(crate) fn rests(&self) -> bool {
        let rests = self.at_rest.get()
            && self.stage.get() == Stage::Idle
            && self.write_blocked.get().is_none()
            && !self.body_open.get()
            && self.secured().is_none();
        if rests {
            self.head.take();
            self.exchanges.take();
        }
        rests
    }

    /// Whether it can be closed on the way out: who has just got an answer that said nothing of the end
    /// may be sending the next request at this moment.
    pub(crate) fn may_go(&self, linger: Duration) -> bool {
        self.stage.get() != Stage::Idle || self.since.get().elapsed() >= linger
    }

    /// Looks at the head as it came in, which hyper does not keep.
    pub(crate) fn with_head<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.head.borrow())
    }

    /// Whether the client takes what is sent to it.
    pub(crate) fn write_blocked(&self, blocked: bool) {
        if !blocked {
            self.write_blocked.set(None);
        } else if self.write_blocked.get().is_none() {
            self.write_blocked.set(Some(Instant::now()));
        }
    }

    /// A request's body came to its end.
    pub(crate) fn body_complete(&self) {
        self.body_open.set(false);
    }

    /// Whether there is more of a request's body than was read.
    pub(crate) fn is_body_open(&self) -> bool {
        self.body_open.get()
    }

    /// The connection is a tunnel from here on.
    pub(crate) fn becomes_tunnel(&self) {
        self.stage.set(Stage::Tunnel);
    }

    /// The connection carries streams from here on.
    pub(crate) fn becomes_multiplexed(&self) {
        self.stage.set(Stage::Streams);
        self.head.borrow_mut().clear();
        self.since.set(Instant::now());
    }

    /// Whether the connection carries streams.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.stage.get() == Stage::Streams
    }

    /// Remembers the task that the verdict must wake.
    pub(crate) fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if known.is_none() {
            *known = Some(waker.clone());
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Since when nothing comes that has to come from the client; none while it has said all that
    /// it must, or is to be closed already.
    pub(crate) fn owes_since(&self) -> Option<Instant> {
        if self.verdict.get() == Some(Verdict::Close) {
            return None;
        }
        let exchanges = self.exchanges.borrow();
        match self.stage.get() {
            Stage::Head | Stage::Idle => Some(self.since.get()),
            Stage::Streams if exchanges.is_empty() => Some(self.since.get()),
            // None is the least: one request that is all there is enough to be left alone.
            Stage::Answering | Stage::Streams => {
                exchanges.iter().map(|exchange| exchange.owes_since()).min().flatten()
            }
            Stage::Tunnel => None,
        }
    }

    /// Ends the connection, as a deadline does.
    pub(crate) fn close(&self) {
        self.verdict.set(Some(Verdict::Close));
        self.wake();
    }

    /// Ends the connection after what is under way, where it can be told so apart from an answer.
    pub(crate) fn leave(&self) {
        if self.is_multiplexed() && self.verdict.get().is_none() {
            self.verdict.set(Some(Verdict::Leave));
            self.left_quiet.set(self.exchanges.borrow().is_empty());
            self.since.set(Instant::now());
            self.wake();
        }
    }

    /// Whether there was nothing under way when it was told to leave, nor is since.
    pub(crate) fn is_left_quiet(&self) -> bool {
        self.left_quiet.get()
    }

    /// Breaks off what a deployment answers.
    pub(crate) fn end_of(&self, deployment: DeploymentId) {
        self.exchanges.borrow().iter().for_each(|exchange| exchange.end_of(deployment));
    }

    /// The connection is gone, and with it whatever it carried.
    pub(crate) fn cut_all(&self) {
        self.exchanges.borrow().iter().for_each(|exchange| exchange.cut());
    }

    /// What is to become of it, if anything is.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Compares all deadlines with `now`, and wakes whom one concerns that has passed.
    pub(crate) fn sweep(&self, now: Instant, limits: &Limits) {
        let over = |since, limit| is_over(since, now, limit);
        let since = Some(self.since.get());
        let is_blocked = over(self.write_blocked.get(), limits.stalled);
        let exchanges = self.exchanges.borrow();
        match self.stage.get() {
            Stage::Tunnel => {}
            Stage::Head if over(since, limits.head) => self.close(),
            Stage::Idle if over(since, limits.idle) => self.close(),
            Stage::Idle if over(since, limits.rest) && !self.at_rest.replace(true) => self.wake(),
            Stage::Head | Stage::Idle | Stage::Answering | Stage::Streams if is_blocked => {
                self.close();
            }
            Stage::Streams if self.is_left_quiet() && over(since, limits.linger) => self.close(),
            Stage::Streams if exchanges.is_empty() && over(since, limits.idle) => self.leave(),
            Stage::Answering | Stage::Streams => {
                exchanges.iter().for_each(|exchange| exchange.sweep(now, limits));
            }
            Stage::Head | Stage::Idle => {}
        }
    }
}
