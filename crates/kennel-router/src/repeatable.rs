//! A request's body that can be sent again, as long as little of it was: a service may refuse a
//! stream that it has not looked at (RFC 9113 §8.7), and what was sent by then is gone.
//!
//! For HTTP/2 to services only. Holds at most [`KEPT`] bytes, and none once the answer is there.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use crate::request_body::{RequestBody, RequestBodyError};

/// The most that is kept of one body: a frame, which is what most calls are.
const KEPT: usize = 16 << 10;

/// A body for one attempt.
pub(crate) struct Attempt {
    shared: Rc<RefCell<Shared>>,
    turn: u32,
    next: usize,
}

/// What makes the attempts.
pub(crate) struct Repeatable(Rc<RefCell<Shared>>);

struct Shared {
    body: RequestBody,
    hint: SizeHint,
    /// Which attempt is under way.
    turn: u32,
    /// All that was taken of the body; none if that was too much to be kept.
    taken: Option<Taken>,
    is_at_end: bool,
}

#[derive(Default)]
struct Taken {
    pieces: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
}

impl Repeatable {
    pub(crate) fn new(body: RequestBody) -> Self {
        let (hint, is_at_end) = (body.size_hint(), body.is_end_stream());
        let taken = Some(Taken::default());
        Self(Rc::new(RefCell::new(Shared { body, hint, turn: 0, taken, is_at_end })))
    }

    /// Whether it is no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        let shared = self.0.borrow();
        shared.is_at_end && shared.taken.as_ref().is_some_and(|taken| taken.pieces.is_empty())
    }

    /// The body for the next attempt; none if it cannot be sent again. The one before ends.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        let mut shared = self.0.borrow_mut();
        shared.taken.as_ref()?;
        shared.turn += 1;
        Some(Attempt { shared: Rc::clone(&self.0), turn: shared.turn, next: 0 })
    }

    /// There will be no other attempt.
    pub(crate) fn settle(&self) {
        self.0.borrow_mut().taken = None;
    }
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let shared = &mut *this.shared.borrow_mut();
        if shared.turn != this.turn {
            return Poll::Ready(Some(Err(RequestBodyError::NotWanted)));
        }
        if let Some(taken) = &shared.taken {
            if let Some(piece) = taken.pieces.get(this.next) {
                this.next += 1;
                return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
            }
            if let (true, Some(trailers)) = (shared.is_at_end, &taken.trailers) {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
            }
        }
        if shared.is_at_end {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut shared.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    this.next += 1;
                    shared.keep(piece);
                } else if let (Some(trailers), Some(taken)) =
                    (frame.trailers_ref(), &mut shared.taken)
                {
                    taken.trailers = Some(trailers.clone());
                }
                shared.is_at_end = frame.is_trailers() || shared.body.is_end_stream();
            }
            Some(Err(_broken)) => shared.taken = None,
            None => shared.is_at_end = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        let taken = shared.taken.as_ref();
        shared.is_at_end
            && taken.is_none_or(|it| it.trailers.is_none() && it.pieces.len() <= self.next)
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.borrow().hint
    }
}

impl Shared {
    fn keep(&mut self, piece: &Bytes) {
        let Some(taken) = &mut self.taken else { return };
        taken.bytes += piece.len();
        if taken.bytes > KEPT {
            self.taken = None;
        } else {
            taken.pieces.push(piece.clone());
        }
    }
}
