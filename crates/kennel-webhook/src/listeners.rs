//! The sockets: those that systemd opened, and others for development.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::task::{Context, Poll};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where to listen: `127.0.0.1:8080`, or a path with a `/` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| "neither IP:PORT nor a path with a `/` in it")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// systemd passed something else than a listening stream socket.
    #[error("socket {index} from systemd is no listening stream socket; look at the .socket unit")]
    Inherited {
        /// Which one, from 0.
        index: usize,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which one.
        address: Address,
        /// Why.
        source: io::Error,
    },
}

/// All sockets that requests come from.
#[derive(Debug, Default)]
pub struct Listeners(Vec<Listener>);

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listeners {
    /// The sockets that systemd passed (sd_listen_fds(3)), whatever they are called. Call it once,
    /// within the runtime.
    ///
    /// # Errors
    /// [`ListenError::Inherited`].
    pub fn inherited() -> Result<Self, ListenError> {
        let mut passed = ListenFd::from_env();
        let mut listeners = Self::default();
        for index in 0..passed.len() {
            let taken = take(&mut passed, index);
            let listener = taken.map_err(|source| ListenError::Inherited { index, source })?;
            listeners.0.extend(listener);
        }
        Ok(listeners)
    }

    /// Listens on one more address. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub fn bind(&mut self, address: &Address) -> Result<(), ListenError> {
        let listener = match address {
            Address::Tcp(address) => std::net::TcpListener::bind(address).and_then(tcp),
            Address::Unix(path) => bind_unix(path).and_then(unix),
        };
        let listener =
            listener.map_err(|source| ListenError::Bind { address: address.clone(), source })?;
        self.0.push(listener);
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next connection of any socket. Dropping the future loses none.
    pub(crate) async fn accept(&self) -> io::Result<Connection> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        for listener in &self.0 {
            let accepted = match listener {
                Listener::Unix(listener) => {
                    listener.poll_accept(context).map_ok(|(stream, _)| Connection::Unix(stream))
                }
                Listener::Tcp(listener) => {
                    listener.poll_accept(context).map_ok(|(stream, _)| Connection::Tcp(stream))
                }
            };
            if accepted.is_ready() {
                return accepted;
            }
        }
        Poll::Pending
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Listener>> {
    // What is of another kind stays there for the next try.
    if let Ok(Some(listener)) = passed.take_unix_listener(index) {
        return unix(listener).map(Some);
    }
    match passed.take_tcp_listener(index)? {
        Some(listener) => tcp(listener).map(Some),
        None => Ok(None),
    }
}

fn unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(Listener::Unix)
}

fn tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Listener::Tcp)
}

fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::{UnixListener, UnixStream};
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_or_a_path() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 80).into())));
        assert_eq!("./x.sock".parse(), Ok(Address::Unix("./x.sock".into())));
        assert!("localhost:80".parse::<Address>().is_err());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Unix(dir.path().join("x.sock"));
        let mut first = Listeners::default();
        first.bind(&address).unwrap();
        assert!(Listeners::default().bind(&address).is_err());
        drop(first);
        Listeners::default().bind(&address).unwrap();
    }
}
