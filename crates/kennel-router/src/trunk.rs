//! Connections to services that speak HTTP/2 (`protocol = "h2c"`): many requests on each, few of them.
//!
//! Apart from the pool of HTTP/1.1, where a connection is one request's at a time. One set per
//! worker, kept by deployment. A service says how many streams a connection may carry, and when it is
//! to be used no more.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kennel_core::error_chain;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::limits::{HEAD_BYTES, Limits};
use crate::repeatable::Attempt;
use crate::upstream::{BackendKey, ConnectError, Stream};

/// The most streams of a connection, if the service lets it have more: what gRPC servers mostly let
/// one have.
const STREAMS: u32 = 100;
/// Bytes of one answer that a service may send before its client takes them.
const STREAM_WINDOW: u32 = 64 << 10;
/// The same for all of a connection: as much as its streams together, so that clients who take
/// nothing hold up nobody else.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// How long a connection stays that nobody uses. A service that wants to close it says so first
/// (GOAWAY), so that there is no race to avoid.
const IDLE: Duration = Duration::from_secs(30);

/// A worker's connections to services that speak HTTP/2.
#[derive(Default)]
pub(crate) struct Trunks(RefCell<HashMap<BackendKey, Rc<Line>>>);

/// The connections to one service.
pub(crate) struct Line {
    trunks: RefCell<Vec<Rc<Trunk>>>,
    /// One connection is made at a time: who waits for it may find a place on it.
    pub(crate) door: Semaphore,
}

/// A connection.
struct Trunk {
    sender: RefCell<SendRequest<Attempt>>,
    shared: Rc<Driven>,
    open: Cell<usize>,
    used: Cell<Instant>,
    /// Whether the service has said that it takes no more.
    leaves: Cell<bool>,
}

/// What is known of a connection by the task that drives it.
struct Driven {
    /// None when it has ended.
    connection: RefCell<Option<Conn>>,
    /// Why it has.
    why: RefCell<Option<String>>,
    /// Who waits for the service's first word.
    waiting: RefCell<Option<Waker>>,
}

type Conn = Connection<TokioIo<Watched>, Attempt, Local>;

/// One stream's place on a connection, for as long as it lives.
pub(crate) struct Slot(Rc<Trunk>);

impl Trunks {
    /// The connections to a service.
    pub(crate) fn line(&self, key: &BackendKey) -> Rc<Line> {
        if let Some(line) = self.0.borrow().get(key) {
            return Rc::clone(line);
        }
        let line = Rc::new(Line { trunks: RefCell::default(), door: Semaphore::new(1) });
        self.0.borrow_mut().insert(key.clone(), Rc::clone(&line));
        line
    }

    /// Closes those that nobody has used for so long, and [`IDLE`] at most.
    pub(crate) fn sweep(&self, now: Instant, age: Option<Duration>) {
        let age = age.unwrap_or(IDLE);
        self.0.borrow_mut().retain(|_, line| {
            line.trunks.borrow_mut().retain(|trunk| {
                let idle = now.saturating_duration_since(trunk.used.get());
                trunk.is_of_use() && (trunk.open.get() > 0 || idle < age)
            });
            // Somebody may be about to connect.
            !line.trunks.borrow().is_empty() || Rc::strong_count(line) > 1
        });
    }

    /// Gives up those that lead to none of these; what is under way on them goes on.
    pub(crate) fn keep_only(&self, keys: &HashSet<&BackendKey>) {
        self.0.borrow_mut().retain(|key, _| keys.contains(key));
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl Line {
    /// A place on one that is there, if one has room. The first ones fill up first.
    pub(crate) fn take(&self) -> Option<Slot> {
        let trunks = self.trunks.borrow();
        trunks.iter().find(|trunk| trunk.has_room()).map(Slot::on)
    }

    /// Begins a connection over this stream, and gives a place on it.
    pub(crate) async fn begin(
        &self,
        stream: Stream,
        limits: &Limits,
    ) -> Result<Slot, ConnectError> {
        let trunk = Trunk::begin(stream, limits).await?;
        let slot = Slot::on(&trunk);
        let mut trunks = self.trunks.borrow_mut();
        trunks.retain(|trunk| trunk.is_of_use());
        trunks.push(trunk);
        Ok(slot)
    }
}

impl Trunk {
    /// Begins, and waits for the service's first word: it is how many streams there may be.
    async fn begin(stream: Stream, limits: &Limits) -> Result<Rc<Self>, ConnectError> {
        let shared = Rc::new(Driven {
            connection: RefCell::new(None),
            why: RefCell::new(None),
            waiting: RefCell::new(None),
        });
        let stream = Watched { stream, shared: Rc::clone(&shared) };
        let (sender, connection) = Builder::new(Local)
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .max_send_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Begin)?;
        *shared.connection.borrow_mut() = Some(connection);
        spawn_local(Rc::clone(&shared).drive());
        let first_word = poll_fn(|cx| {
            if let Some(why) = shared.why.borrow().as_ref() {
                return Poll::Ready(Err(ConnectError::NotHttp2(why.clone())));
            }
            if shared.streams() > 0 {
                return Poll::Ready(Ok(()));
            }
            shared.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        });
        timeout(limits.first_byte, first_word).await.unwrap_or(Err(ConnectError::Late))?;
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            shared,
            open: Cell::new(0),
            used: Cell::new(Instant::now()),
            leaves: Cell::new(false),
        }))
    }

    fn is_of_use(&self) -> bool {
        !self.leaves.get() && !self.sender.borrow().is_closed()
    }

    fn has_room(&self) -> bool {
        self.is_of_use() && self.open.get() < self.shared.streams()
    }
}

impl Driven {
    async fn drive(self: Rc<Self>) {
        let ended = poll_fn(|cx| match &mut *self.connection.borrow_mut() {
            Some(connection) => Pin::new(connection).poll(cx),
            None => Poll::Ready(Ok(())),
        })
        .await;
        let why = match ended {
            Ok(()) => "it closed the connection".to_owned(),
            Err(error) => error_chain(&error),
        };
        self.why.replace(Some(why));
        // Requests that have not left yet are given back by this.
        self.connection.replace(None);
        self.wake();
    }

    /// How many streams there may be at a time.
    fn streams(&self) -> usize {
        let connection = self.connection.borrow();
        connection.as_ref().map_or(0, |it| it.current_max_send_streams().min(STREAMS as usize))
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl Slot {
    fn on(trunk: &Rc<Trunk>) -> Self {
        trunk.open.set(trunk.open.get() + 1);
        Self(Rc::clone(trunk))
    }

    /// Sends a request.
    pub(crate) fn send(
        &self,
        request: Request<Attempt>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Attempt>>>> + use<>
    {
        self.0.sender.borrow_mut().try_send_request(request)
    }

    /// Whether the service takes WebSockets (RFC 8441 §3).
    pub(crate) fn takes_websockets(&self) -> bool {
        let connection = self.0.shared.connection.borrow();
        connection.as_ref().is_some_and(Connection::is_extended_connect_protocol_enabled)
    }

    /// Nobody is to begin anything on this connection any more.
    pub(crate) fn leave(&self) {
        self.0.leaves.set(true);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.used.set(Instant::now());
    }
}

/// Runs a connection's parts on the thread that has it.
#[derive(Clone)]
pub(crate) struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, part: F) {
        spawn_local(part);
    }
}

/// A stream to a service, which tells who waits for its first word that something came: hyper does
/// not.
struct Watched {
    stream: Stream,
    shared: Rc<Driven>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.shared.wake();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
