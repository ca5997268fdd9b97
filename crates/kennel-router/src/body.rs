//! What is sent to clients: nothing, bytes, a file, or a service's answer as it comes.
//!
//! An enum instead of a box, since every answer has one. Holds what must live as long as the body
//! is being sent: the turn of the client's connection and the lease of the service's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::direct::Answer;
use crate::exchange::Turn;
use crate::hop;
use crate::notes::Notes;
use crate::pool::Lease;
use crate::site::FileBody;

/// An answer's body.
pub(crate) struct Body {
    kind: Kind,
    turn: Option<Turn>,
}

enum Kind {
    Empty,
    Full(Bytes),
    File(FileBody),
    Upstream(Incoming, Option<Lease>),
    Answer(Answer),
}

/// The body ended before its end. The client sees a connection that breaks off, and so never takes
/// half an answer for a whole one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the service broke off its answer")]
    Upstream(#[source] hyper::Error),
    #[error("the service broke off its answer")]
    Answer(#[source] io::Error),
    #[error("a file could not be read to its end")]
    File(#[source] io::Error),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, turn: None }
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full(bytes), turn: None }
    }

    pub(crate) fn file(file: FileBody) -> Self {
        Self { kind: Kind::File(file), turn: None }
    }

    /// A service's answer. Its connection goes back to the pool when the body has ended.
    pub(crate) fn upstream(incoming: Incoming, lease: Lease) -> Self {
        let mut lease = Some(lease);
        if incoming.is_end_stream() {
            // hyper does not poll a body that has ended.
            lease.take().into_iter().for_each(Lease::give_back);
        }
        Self { kind: Kind::Upstream(incoming, lease), turn: None }
    }

    /// Whether a service says it.
    pub(crate) fn is_of_service(&self) -> bool {
        matches!(self.kind, Kind::Upstream(..) | Kind::Answer(_))
    }

    /// A service's answer to a request without a body.
    pub(crate) fn answer(answer: Answer) -> Self {
        Self { kind: Kind::Answer(answer), turn: None }
    }

    /// Keeps the request counted as under way until this body has been sent.
    pub(crate) fn during(mut self, turn: Turn) -> Self {
        self.turn = Some(turn);
        self
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Nobody asks for a piece of a body that has none left.
        if self.is_end_stream() {
            self.turn.iter_mut().for_each(Turn::completes);
        }
    }
}

impl Kind {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::File(file) => {
                let piece = ready!(file.poll_piece(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(BodyError::File)))
            }
            Self::Answer(answer) => {
                let mut frame = ready!(answer.poll_frame(cx));
                if let Some(Ok(frame)) = &mut frame {
                    // Only HTTP/2 hands them on.
                    frame.trailers_mut().into_iter().for_each(hop::strip);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Answer)))
            }
            Self::Upstream(incoming, lease) => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                match frame {
                    Some(Ok(mut frame)) => {
                        // Only HTTP/2 hands them on, and asks for nothing behind them.
                        let trailers = frame.trailers_mut().map(hop::strip);
                        if incoming.is_end_stream() || trailers.is_some() {
                            lease.take().into_iter().for_each(Lease::give_back);
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(error)) => {
                        *lease = None;
                        Poll::Ready(Some(Err(BodyError::Upstream(error))))
                    }
                    None => {
                        lease.take().into_iter().for_each(Lease::give_back);
                        Poll::Ready(None)
                    }
                }
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { kind, turn } = &mut *self;
        let frame = kind.poll_frame(cx);
        if let Some(turn) = turn {
            match &frame {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => turn.completes(),
                Poll::Ready(Some(Ok(frame))) => {
                    turn.answer_offered(true);
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    if let Some(visit) = turn.visit() {
                        visit.sent(length);
                    }
                    if let Some(notes) = turn.notes() {
                        notes.sends(length);
                    }
                }
                Poll::Ready(Some(Err(_))) => turn.notes().into_iter().for_each(Notes::broke),
                Poll::Ready(None) => turn.completes(),
                Poll::Pending => turn.answer_offered(false),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::File(file) => file.left() == 0,
            Kind::Upstream(incoming, _) => incoming.is_end_stream(),
            Kind::Answer(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(0)),
            Kind::File(file) => SizeHint::with_exact(file.left()),
            Kind::Upstream(incoming, _) => incoming.size_hint(),
            Kind::Answer(answer) => answer.size_hint(),
        }
    }
}
