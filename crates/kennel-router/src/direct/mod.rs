//! A connection to a service that is driven by the request itself, for requests without a body.
//!
//! Nearly all requests are of that kind. hyper's client has a task per connection, and channels
//! between that and the request and its answer, which take more of a small request's time than
//! everything else; here the request writes, waits and reads. Whatever has a body to send or wants
//! another protocol goes over hyper's.
//!
//! Holds what one read brought, and never reads ahead of who takes the answer.

mod answer;
mod chunks;
mod head;

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWrite};

pub(crate) use self::answer::{Answer, Lease};
pub(crate) use self::head::Head;
use self::head::Heard;
use crate::limits::HEAD_BYTES;
use crate::upstream::Stream;

/// What is read at once, at first: a small answer with its head.
const PIECE: usize = 8 << 10;

/// A connection to a service.
pub(crate) struct Direct {
    stream: Stream,
    /// The request as it is sent, and how much of it was.
    request: Vec<u8>,
    written: usize,
    /// How much of what came was looked at for the end of a head.
    known: usize,
    is_head: bool,
    /// What came and was not taken yet.
    buffer: BytesMut,
    /// How much is read at once.
    piece: usize,
    /// Whether anything came since the request was begun.
    heard: bool,
    /// The fields of a request that was sent: a map for those of the answer.
    fields: HeaderMap,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Not a byte of the request was sent.
    Unsent,
    /// The connection ended before the answer began.
    Unanswered(String),
    /// What came was no answer.
    Invalid(&'static str),
}

impl Direct {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            request: Vec::new(),
            written: 0,
            known: 0,
            is_head: false,
            buffer: BytesMut::new(),
            piece: PIECE,
            heard: false,
            fields: HeaderMap::new(),
        }
    }

    /// Whether the service has neither closed it nor said anything that nobody asked for. No system
    /// call, unless it has.
    pub(crate) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && self.stream.is_quiet()
    }

    /// Takes a request to send. Its fields are as the service will get them, and so are the `lines`
    /// behind them.
    pub(crate) fn take(&mut self, parts: &Parts, lines: &[u8]) {
        let Self { request, .. } = self;
        request.clear();
        request.extend_from_slice(parts.method.as_str().as_bytes());
        request.push(b' ');
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        request.extend_from_slice(target.as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &parts.headers {
            request.extend_from_slice(name.as_str().as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(lines);
        request.extend_from_slice(b"\r\n");
        self.is_head = parts.method == Method::HEAD;
        (self.written, self.known, self.heard) = (0, 0, false);
    }

    /// Sends the request and waits for the answer's head. Interim answers are nobody's.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Lost>> {
        while let Some(rest) = self.request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(count) if count > 0 => self.written += count,
                Ok(_) | Err(_) if self.written == 0 => return Poll::Ready(Err(Lost::Unsent)),
                Ok(_) => return Poll::Ready(Err(Lost::Unanswered("it takes no more".into()))),
                Err(error) => return Poll::Ready(Err(Lost::Unanswered(error.to_string()))),
            }
        }
        loop {
            match head::parse(&mut self.buffer, self.known, self.is_head, &mut self.fields) {
                Ok(Heard::Final(head)) => return Poll::Ready(Ok(head)),
                Ok(Heard::Interim) => {
                    self.known = 0;
                    continue;
                }
                Ok(Heard::Part) if self.buffer.len() >= HEAD_BYTES => {
                    return Poll::Ready(Err(Lost::Invalid("its head is too long")));
                }
                Ok(Heard::Part) => self.known = self.buffer.len(),
                Err(why) => return Poll::Ready(Err(Lost::Invalid(why))),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) if self.heard => {
                    return Poll::Ready(Err(Lost::Invalid("it ends within its head")));
                }
                Ok(0) => {
                    return Poll::Ready(Err(Lost::Unanswered("it closed the connection".into())));
                }
                Ok(_) => self.heard = true,
                Err(error) => return Poll::Ready(Err(Lost::Unanswered(error.to_string()))),
            }
        }
    }

    /// Exchanges the fields of the request, which was sent, for those of the answer.
    pub(crate) fn swap_fields(&mut self, fields: &mut HeaderMap) {
        std::mem::swap(&mut self.fields, fields);
        self.fields.clear();
    }

    /// So many bytes of a body are to come.
    fn expects(&mut self, left: u64) {
        self.piece = usize::try_from(left).unwrap_or(HEAD_BYTES).clamp(PIECE, HEAD_BYTES);
    }

    /// Reads once; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(self.piece);
        let room = self.buffer.capacity() - self.buffer.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.buffer)).poll(cx))?;
        self.piece = if count == room {
            self.piece.saturating_mul(2).min(HEAD_BYTES)
        } else if count < self.piece / 4 {
            PIECE
        } else {
            self.piece
        };
        Poll::Ready(Ok(count))
    }
}
