//! A client's body on its way to a service.
//!
//! Passes pieces through as they come and holds none. With `Expect: 100-continue` nothing is read
//! until the service wants it, since reading is what makes the client send.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

use crate::exchange::Exchange;
use crate::hop;

/// A request's body.
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    gate: Option<oneshot::Receiver<()>>,
    /// How many bytes of it may still come.
    left: u64,
    passes_trailers: bool,
    exchange: Rc<Exchange>,
}

/// Holds a body back until the service asks for it. Dropped unopened, it ends the body with an
/// error. `Sync`, since hyper calls it from wherever it reads the service's `100 Continue`.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<Option<oneshot::Sender<()>>>>);

/// A body that did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the client broke off its request")]
    Client(#[source] hyper::Error),
    #[error("the service did not want the body")]
    NotWanted,
    #[error("the client's body is longer than the service takes")]
    TooLong,
}

impl Gate {
    /// Lets the body through.
    pub(crate) fn open(&self) {
        if let Some(opener) = self.take() {
            // The body may be gone already, and needs nothing then.
            let _gone = opener.send(());
        }
    }

    /// Ends the body if it was never let through.
    pub(crate) fn close(&self) {
        drop(self.take());
    }

    /// Whether the body still waits.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<oneshot::Sender<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RequestBody {
    /// The body of a request that may have none, and of `most` bytes at most.
    pub(crate) fn new(incoming: Incoming, most: u64, exchange: &Rc<Exchange>) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        Self {
            incoming,
            gate: None,
            left: most,
            passes_trailers: false,
            exchange: Rc::clone(exchange),
        }
    }

    /// No body.
    pub(crate) fn none(exchange: &Rc<Exchange>) -> Self {
        Self {
            incoming: None,
            gate: None,
            left: 0,
            passes_trailers: false,
            exchange: Rc::clone(exchange),
        }
    }

    /// With the client's trailers, but for those that belong to its connection.
    pub(crate) fn with_trailers(mut self) -> Self {
        self.passes_trailers = true;
        self
    }

    /// Holds it back until the gate opens.
    pub(crate) fn gated(mut self) -> (Self, Gate) {
        let (opener, gate) = oneshot::channel();
        self.gate = Some(gate);
        (self, Gate(Arc::new(Mutex::new(Some(opener)))))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.exchange.body_dropped();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(gate) = &mut self.gate {
            if ready!(Pin::new(gate).poll(cx)).is_err() {
                return Poll::Ready(Some(Err(RequestBodyError::NotWanted)));
            }
            self.gate = None;
        }
        let Self { incoming: body, left, passes_trailers, exchange, .. } = &mut *self;
        let Some(incoming) = body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            exchange.body_awaited();
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) if frame.is_data() => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let rest = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX));
                let Some(rest) = rest else {
                    exchange.body_exceeds();
                    return Poll::Ready(Some(Err(RequestBodyError::TooLong)));
                };
                *left = rest;
                if let Some(visit) = exchange.visit() {
                    visit.received(length);
                }
                if incoming.is_end_stream() {
                    exchange.body_complete();
                } else {
                    exchange.body_moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Ok(mut frame)) => {
                exchange.body_complete();
                *body = None;
                // In HTTP/1.1 they belong to the connection that announced them, and that was the
                // client's.
                let passed = frame.trailers_mut().map(hop::strip).filter(|()| *passes_trailers);
                Poll::Ready(passed.map(|()| Ok(frame)))
            }
            None => {
                exchange.body_complete();
                *body = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                exchange.body_failed();
                Poll::Ready(Some(Err(RequestBodyError::Client(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
