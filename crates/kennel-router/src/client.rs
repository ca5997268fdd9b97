//! A client's connection, as its parts know it: what it is doing since when, and who it is.
//!
//! Deadlines are fields here that one sweep per worker looks at, since a timer per request costs
//! more than the rest of this file. Shared by the connection, its byte stream and the answer that
//! is under way, all in one task; it never leaves its worker.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::forwarded::Peer;
use crate::limits::{HEAD_BYTES, Limits};
use crate::tunnel::UpstreamEnd;

/// A client's connection.
pub(crate) struct Client {
    /// Who the service is told it is.
    pub(crate) peer: Peer,
    /// The host that a TLS connection was made for.
    secured: OnceCell<Box<str>>,
    /// What the service's side of an agreed upgrade is, until the connection takes it over.
    pub(crate) tunnel: RefCell<Option<UpstreamEnd>>,
    stage: Cell<Stage>,
    since: Cell<Instant>,
    write_blocked: Cell<Option<Instant>>,
    body_awaited: Cell<Option<Instant>>,
    answer_awaited: Cell<Option<Instant>>,
    body_open: Cell<bool>,
    body_broken: Cell<bool>,
    verdict: Cell<Option<Verdict>>,
    waker: RefCell<Option<Waker>>,
    head: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Answering,
    Idle,
    Tunnel,
}

/// A deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The connection is to be closed.
    Close,
    /// The service has not answered.
    ServiceLate,
}

/// Keeps a request counted as under way until its answer's body has been handed over.
pub(crate) struct Turn(Rc<Client>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.stage.set(Stage::Idle);
        self.0.since.set(Instant::now());
    }
}

impl Client {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            secured: OnceCell::new(),
            tunnel: RefCell::new(None),
            stage: Cell::new(Stage::Head),
            since: Cell::new(Instant::now()),
            write_blocked: Cell::new(None),
            body_awaited: Cell::new(None),
            answer_awaited: Cell::new(None),
            body_open: Cell::new(false),
            body_broken: Cell::new(false),
            verdict: Cell::new(None),
            waker: RefCell::new(None),
            head: RefCell::new(Vec::new()),
        }
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
        self.stage.set(Stage::Answering);
        self.body_open.set(has_body);
        self.body_broken.set(false);
        self.body_awaited.set(None);
        self.answer_awaited.set(None);
        self.verdict.set(None);
        Turn(Rc::clone(self))
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self, bytes: &[u8]) {
        match self.stage.get() {
            Stage::Idle => {
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
            Stage::Answering | Stage::Tunnel => {}
        }
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
        self.body_open.set(false);
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

    /// Whether there is more of a request's body than was read.
    pub(crate) fn is_body_open(&self) -> bool {
        self.body_open.get()
    }

    /// A service's answer is being waited for, or not any more.
    pub(crate) fn answer_awaited(&self, awaited: bool) {
        self.answer_awaited.set(awaited.then(Instant::now));
    }

    /// The connection is a tunnel from here on.
    pub(crate) fn becomes_tunnel(&self) {
        self.stage.set(Stage::Tunnel);
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
        if self.verdict.get().is_some() {
            return None;
        }
        match self.stage.get() {
            Stage::Head | Stage::Idle => Some(self.since.get()),
            Stage::Answering => self.body_awaited.get(),
            Stage::Tunnel => None,
        }
    }

    /// Ends the connection, as a deadline does.
    pub(crate) fn close(&self) {
        self.verdict.set(Some(Verdict::Close));
        self.wake();
    }

    /// The deadline that has passed, if one has.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Compares all deadlines with `now`, and wakes the connection if one has passed.
    pub(crate) fn sweep(&self, now: Instant, limits: &Limits) {
        let over = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) > limit)
        };
        let since = Some(self.since.get());
        let verdict = match self.stage.get() {
            Stage::Tunnel => None,
            Stage::Head if over(since, limits.head) => Some(Verdict::Close),
            Stage::Idle if over(since, limits.idle) => Some(Verdict::Close),
            _ if over(self.write_blocked.get(), limits.stalled) => Some(Verdict::Close),
            Stage::Answering if over(self.body_awaited.get(), limits.stalled) => {
                Some(Verdict::Close)
            }
            Stage::Answering if over(self.answer_awaited.get(), limits.first_byte) => {
                Some(Verdict::ServiceLate)
            }
            Stage::Head | Stage::Idle | Stage::Answering => None,
        };
        if verdict.is_some() {
            self.verdict.set(verdict);
            self.wake();
        }
    }
}
