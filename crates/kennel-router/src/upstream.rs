//! Services, and connections to them: loopback TCP or a Unix socket.
//!
//! Those of hyper's client, for requests with bodies, are driven by a task each on their worker; what
//! [`crate::direct`] makes of a stream is driven by the request.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http1::{Builder, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use kennel_core::config::{BodySize, RequestLimits};
use kennel_core::{DeploymentId, Port, Protocol};
use kennel_systemd::call_service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::health::Pulse;
use crate::limits::{HEAD_BYTES, Limits};
use crate::load::Load;
use crate::prefix::Prefix;
use crate::request_body::RequestBody;
use crate::shares::Share;
use crate::traffic::Tunnelled;
use crate::wake::Bell;
use crate::watch::{InUse, Watch};

/// A program that answers requests.
#[derive(Debug)]
pub(crate) struct Backend {
    /// What its connections are kept under.
    pub(crate) key: BackendKey,
    /// Where it listens.
    pub(crate) address: Address,
    /// What it understands.
    pub(crate) protocol: Protocol,
    /// What its paths begin with here, and not where it listens.
    pub(crate) prefix: Option<Prefix>,
    /// Who may connect at the moment: [`AT_THE_DOOR`].
    pub(crate) door: Semaphore,
    /// What is under way to it, if anybody wants to know.
    pub(crate) watch: Option<Arc<Watch>>,
    /// How to wake it, if it may sleep.
    pub(crate) bell: Option<Arc<Bell>>,
    /// What it is busy with, whichever route and table leads to it.
    pub(crate) load: Arc<Load>,
    /// How much it takes.
    pub(crate) bounds: Bounds,
    /// Whether it is well; none for Kennel's own programs.
    pub(crate) pulse: Option<Arc<Pulse>>,
}

/// How much a service takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Requests under way at a time.
    pub(crate) requests: usize,
    /// Bytes of a request's body.
    pub(crate) body: u64,
}

impl From<&RequestLimits> for Bounds {
    fn from(limits: &RequestLimits) -> Self {
        let requests = limits.max_requests.unwrap_or(RequestLimits::MAX_REQUESTS);
        Self {
            requests: usize::try_from(requests).unwrap_or(usize::MAX),
            body: limits.max_body.and_then(BodySize::bytes).unwrap_or(u64::MAX),
        }
    }
}

/// How many connections to one service are made at a time. More than most programs' queue holds
/// (128) would have to be sent again by the kernel a second later, and what is free meanwhile is
/// used instead.
const AT_THE_DOOR: usize = 64;

impl Backend {
    /// One that nobody has connected to through this route.
    pub(crate) fn new(
        key: BackendKey,
        address: Address,
        protocol: Protocol,
        load: Arc<Load>,
        bounds: Bounds,
    ) -> Self {
        let door = Semaphore::new(AT_THE_DOOR);
        Self {
            key,
            address,
            protocol,
            prefix: None,
            door,
            watch: None,
            bell: None,
            load,
            bounds,
            pulse: None,
        }
    }

    /// The deployment that it is; none if it is one of Kennel's own programs.
    pub(crate) fn deployment(&self) -> Option<DeploymentId> {
        match &self.key {
            BackendKey::Deployment(deployment) => Some(*deployment),
            BackendKey::Socket(_) => None,
        }
    }

    /// Whether no request is passed to it, since it is not well. Whoever asks is one more reason to
    /// look at it again.
    pub(crate) fn is_out(&self) -> bool {
        let out = self.pulse.as_ref().filter(|pulse| pulse.is_out());
        out.is_some_and(|pulse| {
            pulse.missed();
            true
        })
    }

    /// It refused a connection.
    pub(crate) fn refused(&self) {
        self.pulse.iter().for_each(|pulse| pulse.missed());
    }

    /// The same, that nobody has connected to, behind a prefix of which it knows nothing.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        let (key, address) = (self.key.clone(), self.address.clone());
        let new = Self::new(key, address, self.protocol, Arc::clone(&self.load), self.bounds);
        let (watch, bell) = (self.watch.clone(), self.bell.clone());
        Self { prefix: Prefix::new(prefix), pulse: self.pulse.clone(), watch, bell, ..new }
    }
}

/// Whose connection it is. Never a port: it is used again by another deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum BackendKey {
    /// A deployed service's.
    Deployment(DeploymentId),
    /// One of Kennel's own programs'.
    Socket(Arc<Path>),
}

/// Where a backend listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// On the loopback interface.
    Service {
        /// Which port.
        port: Port,
        /// Whether a fork's.
        fork: bool,
    },
    /// On a Unix socket.
    Unix(Arc<Path>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { port, .. } => write!(f, "127.0.0.1:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            BackendKey::Deployment(id) => write!(f, "deployment {id} on {}", self.address),
            BackendKey::Socket(path) => path.display().fmt(f),
        }
    }
}

/// A connection to a service, through which one request at a time is sent.
pub(crate) struct Upstream {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Comes when the service has agreed to an upgrade: the bare stream, with what the service has
    /// sent already.
    pub(crate) upgraded: oneshot::Receiver<Parts<TokioIo<Stream>>>,
}

/// There is no connection to the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens: it is starting, or has stopped.
    #[error("nobody listens there")]
    Refused(#[source] io::Error),
    /// Its queue is full.
    #[error("it does not accept connections")]
    Late,
    /// Something is wrong on this side.
    #[error("cannot connect")]
    Io(#[source] io::Error),
    /// Never in practice: HTTP/1.1 has no handshake.
    #[error("cannot begin")]
    Begin(#[source] hyper::Error),
    /// It was to speak HTTP/2.
    #[error("it does not begin as HTTP/2 does: {0}")]
    NotHttp2(String),
}

/// A descriptor's place among those that the router may have, and among those of its service.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) _of_all: OwnedSemaphorePermit,
    pub(crate) _of_service: Share,
}

impl Upstream {
    /// Begins over this stream.
    pub(crate) async fn begin(stream: Stream) -> Result<Self, ConnectError> {
        let (sender, mut connection) = Builder::new()
            .max_header_size(HEAD_BYTES)
            // What is read at once, and so held for a client that takes no more.
            .max_buf_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Begin)?;
        let (upgrade, upgraded) = oneshot::channel();
        spawn_local(async move {
            // An error here is also the answer to the request under way, which reports it; an idle
            // connection that breaks is of no interest.
            let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            if ended.is_ok() {
                // Nobody waits for it but after a 101; then dropping it closes the connection.
                let _unwanted = upgrade.send(connection.into_parts());
            }
        });
        Ok(Self { sender, upgraded })
    }
}

fn sorted(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ConnectError::Refused(error),
        // A Unix socket whose queue is full says so at once.
        io::ErrorKind::WouldBlock => ConnectError::Late,
        _ => ConnectError::Io(error),
    }
}

/// A stream of bytes to a service.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    /// What counts its bytes, once it is a tunnel: requests and answers are counted as such.
    tunnel: Option<Tunnelled>,
    /// What it is counted as, once it is a tunnel.
    in_use: Option<InUse>,
    _place: Place,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects.
    pub(crate) async fn to(
        backend: &Backend,
        place: Place,
        limits: &Limits,
    ) -> Result<Self, ConnectError> {
        match timeout(limits.connect, Self::connect(&backend.address, place)).await {
            Ok(connected) => connected.map_err(sorted),
            Err(_elapsed) => Err(ConnectError::Late),
        }
    }

    async fn connect(address: &Address, place: Place) -> io::Result<Self> {
        let socket = match address {
            Address::Service { port, fork } => {
                let stream = call_service(*port, *fork).await?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        Ok(Self { socket, tunnel: None, in_use: None, _place: place })
    }

    /// It is a tunnel from here on, which this counts.
    pub(crate) fn becomes_tunnel(&mut self, tunnel: Tunnelled) {
        self.tunnel = Some(tunnel);
    }

    fn poll_read_socket(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write_socket(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    /// It is counted as a tunnel for as long as it is open.
    pub(crate) fn counts_as_tunnel(&mut self, request: Option<InUse>) {
        self.in_use = request.map(InUse::becomes_tunnel);
    }
}

impl Stream {
    /// Whether nothing came, not even its end. A system call only if something did.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match &self.socket {
            Socket::Tcp(stream) => stream.try_read(&mut byte),
            Socket::Unix(stream) => stream.try_read(&mut byte),
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.poll_read_socket(cx, buf);
        if let Some(tunnel) = &this.tunnel {
            tunnel.sent(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.poll_write_socket(cx, buf);
        // A tunnel's are written so and never vectored: tokio copies them out of one buffer.
        if let (Some(tunnel), Poll::Ready(Ok(bytes))) = (&this.tunnel, &written) {
            tunnel.received(*bytes);
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
