//! The sockets: from systemd by name, or made from the command line for development.
//!
//! The port belongs to kennel-router.socket, so that its queue outlives this program. Each worker
//! gets a duplicate of every listener and waits for connections on its own.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::sockopt;

/// What the router listens on.
#[derive(Debug)]
pub struct Sockets {
    /// HTTP from everywhere.
    pub(crate) http: Vec<TcpListener>,
    /// HTTP over TLS from everywhere.
    pub(crate) https: Vec<TcpListener>,
    /// Status for the host's own programs.
    pub(crate) status: Option<UnixListener>,
    /// Where a router that leaves calls for this one; none if this one is not there for that.
    pub(crate) relief: Option<UnixListener>,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP as it is.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// As it stands before an address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Where it is spoken if nobody says otherwise.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The sockets are not what they must be.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Started by hand.
    #[error(
        "no sockets came from systemd; start kennel-router.socket, or use --listen for development"
    )]
    None,
    /// The socket unit has a name that this program does not know.
    #[error(
        "a socket is called `{name}`; FileDescriptorName= in kennel-router.socket, kennel-router-tls.socket, kennel-router-status.socket and kennel-router-relief.socket must be `http`, `https`, `status` and `relief`"
    )]
    Name {
        /// The name found.
        name: String,
    },
    /// A socket is of another kind than its name says.
    #[error(
        "the socket `{name}` is of the wrong kind; `http` and `https` are TCP, `status` and `relief` Unix stream sockets"
    )]
    Kind {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No `http` among them.
    #[error("none of the sockets from systemd is called `http`; start kennel-router.socket")]
    NoHttp,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// As it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses an option.
    #[error("cannot prepare a socket")]
    Prepare(#[source] io::Error),
}

impl Sockets {
    fn none() -> Self {
        Self { http: Vec::new(), https: Vec::new(), status: None, relief: None }
    }

    /// The same listeners for another router, which is there to relieve the first one when that
    /// calls on this socket.
    ///
    /// # Errors
    /// [`SocketError`] if one cannot be duplicated or listened on.
    pub fn relief(&self, path: &Path) -> Result<Self, SocketError> {
        let copy = |listeners: &[TcpListener]| {
            let copies: io::Result<_> = listeners.iter().map(TcpListener::try_clone).collect();
            copies.map_err(SocketError::Prepare)
        };
        Ok(Self {
            http: copy(&self.http)?,
            https: copy(&self.https)?,
            status: None,
            relief: Some(bind_unix(path)?),
        })
    }

    /// Takes what systemd passed (sd_listen_fds(3)).
    ///
    /// # Errors
    /// [`SocketError`] if there is none, or one that has no place here.
    pub fn from_systemd() -> Result<Self, SocketError> {
        // Before listenfd, which clears the environment.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::none();
        if passed.len() == 0 {
            return Err(SocketError::None);
        }
        let mut names = names.split(':');
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match name.as_str() {
                "http" | "https" => {
                    let is_tls = name == "https";
                    let taken = passed.take_tcp_listener(index);
                    let taken = taken.map_err(|source| SocketError::Kind { name, source })?;
                    if is_tls { &mut sockets.https } else { &mut sockets.http }.extend(taken);
                }
                "status" | "relief" => {
                    let is_status = name == "status";
                    let taken = passed.take_unix_listener(index);
                    let taken = taken.map_err(|source| SocketError::Kind { name, source })?;
                    *(if is_status { &mut sockets.status } else { &mut sockets.relief }) = taken;
                }
                _ => return Err(SocketError::Name { name }),
            }
        }
        if sockets.http.is_empty() {
            return Err(SocketError::NoHttp);
        }
        Ok(sockets)
    }

    /// Listens on these, for development.
    ///
    /// # Errors
    /// [`SocketError::Bind`] if one cannot be listened on.
    pub fn bind(
        http: &[SocketAddr],
        https: &[SocketAddr],
        status: Option<&Path>,
    ) -> Result<Self, SocketError> {
        let bind = |address: &SocketAddr| {
            TcpListener::bind(address)
                .map_err(|source| SocketError::Bind { address: address.to_string(), source })
        };
        Ok(Self {
            http: http.iter().map(bind).collect::<Result<_, _>>()?,
            https: https.iter().map(bind).collect::<Result<_, _>>()?,
            status: status.map(bind_unix).transpose()?,
            relief: None,
        })
    }

    /// Where is listened, each with its scheme, HTTP first.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Scheme, SocketAddr)> {
        let all = self.listeners();
        all.filter_map(|(scheme, listener)| Some((scheme, listener.local_addr().ok()?))).collect()
    }

    fn listeners(&self) -> impl Iterator<Item = (Scheme, &TcpListener)> {
        let http = self.http.iter().map(|listener| (Scheme::Http, listener));
        http.chain(self.https.iter().map(|listener| (Scheme::Https, listener)))
    }

    /// Sets what accepted connections inherit (tcp(7)), once instead of per connection.
    pub(crate) fn prepare(&self) -> Result<(), SocketError> {
        for (_, listener) in self.listeners() {
            prepare(listener).map_err(|error| SocketError::Prepare(error.into()))?;
        }
        for listener in self.status.iter().chain(&self.relief) {
            listener.set_nonblocking(true).map_err(SocketError::Prepare)?;
        }
        Ok(())
    }

    /// Duplicates of the listeners, for one worker.
    pub(crate) fn duplicates(&self) -> Result<Vec<(Scheme, TcpListener)>, SocketError> {
        self.listeners()
            .map(|(scheme, listener)| Ok((scheme, listener.try_clone()?)))
            .collect::<Result<_, _>>()
            .map_err(SocketError::Prepare)
    }
}

fn bind_unix(path: &Path) -> Result<UnixListener, SocketError> {
    UnixListener::bind(path)
        .map_err(|source| SocketError::Bind { address: path.display().to_string(), source })
}

fn prepare(listener: &TcpListener) -> rustix::io::Result<()> {
    rustix::io::ioctl_fionbio(listener, true)?;
    sockopt::set_tcp_nodelay(listener, true)?;
    // Finds clients that vanished, where no deadline does: in tunnels and endless answers.
    sockopt::set_socket_keepalive(listener, true)?;
    sockopt::set_tcp_keepidle(listener, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(listener, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(listener, 3)?;
    // Milliseconds. It also ends a client that has paused its reading, so it is longer than
    // `Limits::stalled`, and only acts where that does not.
    sockopt::set_tcp_user_timeout(listener, 90_000)
}
