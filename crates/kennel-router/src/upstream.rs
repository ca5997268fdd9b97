//! Services, and connections to them: loopback TCP or a Unix socket.
//!
//! Each connection is driven by a task of its own on its worker, so that an idle one notices when
//! the service closes it.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http1::{Builder, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use kennel_core::{DeploymentId, Port};
use kennel_systemd::call_service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::limits::{HEAD_BYTES, Limits};
use crate::prefix::Prefix;
use crate::request_body::RequestBody;

/// A program that answers requests.
#[derive(Debug)]
pub(crate) struct Backend {
    /// What its connections are kept under.
    pub(crate) key: BackendKey,
    /// Where it listens.
    pub(crate) address: Address,
    /// What its paths begin with here, and not where it listens.
    pub(crate) prefix: Option<Prefix>,
    /// Who may connect at the moment: [`AT_THE_DOOR`].
    pub(crate) door: Semaphore,
}

/// How many connections to one service are made at a time. More than most programs' queue holds
/// (128) would have to be sent again by the kernel a second later, and what is free meanwhile is
/// used instead.
const AT_THE_DOOR: usize = 64;

impl Backend {
    /// One that nobody has connected to.
    pub(crate) fn new(key: BackendKey, address: Address) -> Self {
        Self { key, address, prefix: None, door: Semaphore::new(AT_THE_DOOR) }
    }

    /// The same, that nobody has connected to, behind a prefix of which it knows nothing.
    pub(crate) fn below(&self, prefix: &str) -> Self {
        let new = Self::new(self.key.clone(), self.address.clone());
        Self { prefix: Prefix::new(prefix), ..new }
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
    /// Comes when the service has agreed to an upgrade.
    pub(crate) upgraded: oneshot::Receiver<UpstreamEnd>,
}

/// The bare stream of an upgraded connection, with what the service has sent already.
pub(crate) type UpstreamEnd = Parts<TokioIo<Stream>>;

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
}

/// Connects. `place` is the descriptor's among those that the router may have.
pub(crate) async fn connect(
    backend: &Backend,
    place: OwnedSemaphorePermit,
    limits: &Limits,
) -> Result<Upstream, ConnectError> {
    let stream = match timeout(limits.connect, Stream::connect(&backend.address, place)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(sorted(error)),
        Err(_elapsed) => return Err(ConnectError::Late),
    };
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
    Ok(Upstream { sender, upgraded })
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
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn connect(address: &Address, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let socket = match address {
            Address::Service { port, fork } => {
                let stream = call_service(*port, *fork).await?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        };
        Ok(Self { socket, _place: place })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
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
