//! The network of a booted host, seen from outside.
//!
//! A host has a network namespace of its own, so that port 80 is its own and several hosts run
//! side by side. A socket belongs to the namespace of the thread that made it, and works from
//! every thread afterwards.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Longer than a router on a busy machine takes to accept, shorter than a person waits.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One network namespace. It stays while this value lives, even when its host has ended.
#[derive(Clone, Debug)]
pub struct Netns(Arc<File>);

impl Netns {
    /// The namespace of a process.
    ///
    /// # Errors
    /// When the process is gone or this user may not look at it.
    pub fn of(pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self(Arc::new(file)))
    }

    /// Moves the calling thread into it, for good: use a thread that does nothing else.
    ///
    /// # Errors
    /// When this process may not (it takes root).
    pub fn enter(&self) -> io::Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// A connection to `port` of the loopback interface in there.
    ///
    /// # Errors
    /// When nobody listens, or nobody accepts within five seconds.
    pub fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.inside(move || {
            let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// A listener on `port` of the loopback interface in there, as a stranger's program has one.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(&self, port: u16) -> io::Result<TcpListener> {
        self.inside(move || TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
    }

    fn inside<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let netns = self.clone();
        thread::spawn(move || {
            netns.enter()?;
            make()
        })
        .join()
        .map_err(|_| io::Error::other("the thread inside the host's network panicked"))?
    }
}

/// Carries connections from a port of this machine to one of a host.
///
/// It is what a person's browser talks to. Dropped, it accepts nobody any more.
#[derive(Debug)]
pub struct Forwarder {
    listener: Arc<TcpListener>,
}

impl Forwarder {
    /// Listens on `127.0.0.1:<port>`, and lets visitors wait until [`Forwarder::serve`].
    ///
    /// # Errors
    /// When the port is taken.
    pub fn bind(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot listen on 127.0.0.1:{port}; take another with --port")
        })?;
        Ok(Self { listener: Arc::new(listener) })
    }

    /// Carries visitors to `port` in there from now on.
    pub fn serve(&self, netns: Netns, port: u16) {
        let listener = Arc::clone(&self.listener);
        thread::spawn(move || {
            for visitor in listener.incoming() {
                // Also when it was shut down.
                let Ok(visitor) = visitor else { return };
                let netns = netns.clone();
                thread::spawn(move || {
                    // A router that is not there looks to the visitor as it would on the host.
                    let Ok(router) = netns.connect(port) else { return };
                    let _ = carry(&visitor, &router);
                });
            }
        });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Ends the accept, and with it the thread that holds the other half.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

fn carry(visitor: &TcpStream, router: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (visitor.try_clone()?, router.try_clone()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = io::copy(&mut &*router, &mut &*visitor);
    let _ = visitor.shutdown(std::net::Shutdown::Write);
    let _ = there.join();
    Ok(())
}
