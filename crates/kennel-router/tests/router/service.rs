//! Services whose every byte a test decides.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::{read_body, read_head};
use crate::host::PATIENCE;

/// A service on a port of its own.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// A connection that the router made.
pub(crate) struct Conn {
    stream: BufReader<TcpStream>,
    /// Which connection of this service it is, from 0.
    pub(crate) number: usize,
}

/// A request as it came in.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn line(&self) -> &str {
        &self.head[0]
    }
}

impl Service {
    /// Runs `talk` for each connection, each in a thread of its own.
    pub(crate) fn new(talk: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), talk)
    }

    /// The same on a port that the test has chosen.
    pub(crate) fn on(listener: TcpListener, talk: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let talk = Arc::new(talk);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let talk = Arc::clone(&talk);
                thread::spawn(move || talk(Conn { stream: BufReader::new(stream), number }));
            }
        });
        Self { address, connections }
    }

    /// One that answers every request with what `reply` makes of it.
    pub(crate) fn replying(reply: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(move |mut conn| {
            while let Some(seen) = conn.request() {
                let reply = reply(&seen);
                conn.send(reply);
            }
        })
    }

    /// One that begins to listen there, where nobody does.
    pub(crate) fn at(
        address: SocketAddr,
        reply: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        Self::on(listener, move |mut conn| {
            while let Some(seen) = conn.request() {
                let reply = reply(&seen);
                conn.send(reply);
            }
        })
    }

    /// One that answers every request with this text.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::replying(move |_| ok(text))
    }

    /// One that sends back the head that it got.
    pub(crate) fn echoing_heads() -> Self {
        Self::replying(|seen| ok(&seen.head.join("\n")))
    }

    /// One that sends back the body that it got.
    pub(crate) fn echoing_bodies() -> Self {
        Self::replying(|seen| ok(std::str::from_utf8(&seen.body).unwrap()))
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A plain answer.
pub(crate) fn ok(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Conn {
    /// The next request with its body; nothing when the router has closed.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        let body = read_body(&mut self.stream, &head, false).ok()?;
        Some(Seen { head, body })
    }

    pub(crate) fn head(&mut self) -> Option<Vec<String>> {
        read_head(&mut self.stream)
    }

    pub(crate) fn body(&mut self, head: &[String]) -> Result<Vec<u8>, Vec<u8>> {
        read_body(&mut self.stream, head, false)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes next; nothing when the router has closed.
    pub(crate) fn piece(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65536];
        let count = self.stream.read(&mut bytes).ok().filter(|&count| count > 0)?;
        bytes.truncate(count);
        Some(bytes)
    }

    /// Sends as much as the router takes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Whether the router closes its side, without sending more.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Reads and forgets; whether the router has closed its side.
    pub(crate) fn bytes_or_end(&mut self) -> bool {
        let mut bytes = [0; 65536];
        matches!(self.stream.read(&mut bytes), Ok(0) | Err(_))
    }

    pub(crate) fn raw(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
