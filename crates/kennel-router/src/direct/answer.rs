//! The body of an answer that comes over such a connection.
//!
//! Gives the connection back as soon as the last byte was read, and closes it when anything else
//! happens.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::Direct;
use super::chunks::{Chunks, Next};
use super::head::{Head, Length};
use crate::pool::Pool;
use crate::upstream::BackendKey;

/// A connection that is being used. Dropped, it is closed.
pub(crate) struct Lease {
    pub(crate) direct: Direct,
    pub(crate) key: BackendKey,
    pub(crate) pool: Rc<Pool<Direct>>,
}

/// An answer's body.
pub(crate) enum Answer {
    /// All that is left of it, which may be nothing.
    Whole(Bytes),
    /// More is to come. In a box, since most answers are small and come at once.
    Coming(Box<Coming>),
}

/// A body that comes over a connection.
pub(crate) struct Coming {
    lease: Option<Lease>,
    rest: Rest,
    keeps: bool,
    /// Why it ends before its end.
    broken: Option<io::Error>,
    /// Whether it has come to its end.
    complete: bool,
}

enum Rest {
    Bytes(u64),
    Chunks(Chunks),
    Connection,
}

impl Answer {
    /// The body that a head announces.
    pub(crate) fn new(head: &Head, mut lease: Lease) -> Self {
        let rest = match head.length {
            Length::None => Rest::Bytes(0),
            Length::Bytes(count) => Rest::Bytes(count),
            Length::Chunks => Rest::Chunks(Chunks::default()),
            Length::Connection => Rest::Connection,
        };
        if let Rest::Bytes(left) = rest
            && let Ok(left) = usize::try_from(left)
            && left <= lease.direct.buffer.len()
        {
            // The service has said all, and need not wait until the client has heard it.
            let bytes = lease.direct.buffer.split_to(left).freeze();
            lease.give_back(head.keeps);
            return Self::Whole(bytes);
        }
        Self::Coming(Box::new(Coming {
            lease: Some(lease),
            rest,
            keeps: head.keeps,
            broken: None,
            complete: false,
        }))
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Coming(coming) => coming.poll_frame(cx),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Coming(coming) => coming.complete,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming(coming) => match coming.rest {
                Rest::Bytes(left) => SizeHint::with_exact(left),
                Rest::Chunks(_) | Rest::Connection => SizeHint::default(),
            },
        }
    }
}

impl Coming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(self.broken.take().map(Err));
        };
        match ready!(self.rest.poll(cx, &mut lease.direct)) {
            Ok((frame, is_last)) => {
                if is_last && let Some(lease) = self.lease.take() {
                    self.complete = true;
                    lease.give_back(self.keeps);
                }
                Poll::Ready(frame.map(Ok))
            }
            Err(error) => {
                // What came before it is to reach the client, which hyper sends when it has to wait.
                self.lease = None;
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Rest {
    /// The next piece, if there is one, and whether nothing comes after it.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        direct: &mut Direct,
    ) -> Poll<io::Result<(Option<Frame<Bytes>>, bool)>> {
        loop {
            match self {
                Self::Bytes(0) => return Poll::Ready(Ok((None, true))),
                Self::Bytes(left) if !direct.buffer.is_empty() => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = direct.buffer.split_to(most.min(direct.buffer.len())).freeze();
                    *left -= piece.len() as u64;
                    return Poll::Ready(Ok((Some(Frame::data(piece)), *left == 0)));
                }
                Self::Connection if !direct.buffer.is_empty() => {
                    let piece = direct.buffer.split().freeze();
                    return Poll::Ready(Ok((Some(Frame::data(piece)), false)));
                }
                Self::Bytes(left) => direct.expects(*left),
                Self::Connection => {}
                Self::Chunks(chunks) => match chunks.next(&mut direct.buffer) {
                    Ok(Next::Data(piece)) => {
                        return Poll::Ready(Ok((Some(Frame::data(piece)), false)));
                    }
                    Ok(Next::End(trailers)) => {
                        return Poll::Ready(Ok((trailers.map(Frame::trailers), true)));
                    }
                    Ok(Next::More) => {}
                    Err(why) => return Poll::Ready(Err(io::Error::other(why))),
                },
            }
            if ready!(direct.poll_fill(cx))? == 0 {
                return Poll::Ready(match self {
                    Self::Connection => Ok((None, true)),
                    Self::Bytes(_) | Self::Chunks(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                });
            }
        }
    }
}

impl Lease {
    /// The answer has ended. Whatever came behind it was asked for by nobody.
    fn give_back(self, keeps: bool) {
        if keeps && self.direct.buffer.is_empty() {
            self.pool.give_back(&self.key, self.direct);
        }
    }
}
