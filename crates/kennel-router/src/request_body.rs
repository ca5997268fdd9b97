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

/// A request's body.
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    gate: Option<oneshot::Receiver<()>>,
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
    /// The body of a request that may have none.
    pub(crate) fn new(incoming: Incoming, exchange: &Rc<Exchange>) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        Self { incoming, gate: None, exchange: Rc::clone(exchange) }
    }

    /// No body.
    pub(crate) fn none(exchange: &Rc<Exchange>) -> Self {
        Self { incoming: None, gate: None, exchange: Rc::clone(exchange) }
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
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            self.exchange.body_awaited();
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) if frame.is_data() => {
                if incoming.is_end_stream() {
                    self.exchange.body_complete();
                } else {
                    self.exchange.body_moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // Trailers belong to the connection that announced them, and that was the client's.
            Some(Ok(_)) | None => {
                self.exchange.body_complete();
                self.incoming = None;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.exchange.body_failed();
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
