//! Waking a service that sleeps: the bell is rung, and systemd starts it.
//!
//! The router starts nothing itself. It writes one byte to a socket of systemd's, and connects
//! again and again until the service listens. Who waits for one service does so in a line, and the
//! first of it rings and tries.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

/// Between two rings: one that came while the service was ending was for nothing.
const RING: Duration = Duration::from_millis(100);

/// Between two attempts to connect, the later the longer: half of it is lost on average.
const ATTEMPTS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

/// How to wake a service.
#[derive(Debug)]
pub(crate) struct Bell {
    path: PathBuf,
    line: Mutex<()>,
}

/// Who is first in the line, and until when.
pub(crate) struct Waking<'a> {
    bell: &'a Bell,
    _first: MutexGuard<'a, ()>,
    deadline: Instant,
    rung: Option<Instant>,
    attempts: usize,
}

impl Bell {
    /// The bell at a path.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, line: Mutex::new(()) }
    }

    /// Takes its place in the line; nothing if the time is over before its turn.
    pub(crate) async fn waking(&self, patience: Duration) -> Option<Waking<'_>> {
        let deadline = Instant::now() + patience;
        let first = timeout_at(deadline, self.line.lock()).await.ok()?;
        Some(Waking { bell: self, _first: first, deadline, rung: None, attempts: 0 })
    }
}

impl Waking<'_> {
    /// Nobody listens yet: rings, and waits a moment. Says whether to try once more.
    pub(crate) async fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.deadline {
            return false;
        }
        if self.rung.is_none_or(|rung| now.duration_since(rung) >= RING) {
            self.rung = Some(now);
            if let Err(error) = ring(&self.bell.path) {
                warn!("ringing at {}: {error}, ignoring: it may be up", self.bell.path.display());
            }
        }
        sleep(ATTEMPTS.get(self.attempts).or(ATTEMPTS.last()).copied().unwrap_or(RING)).await;
        self.attempts += 1;
        true
    }
}

fn ring(path: &Path) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match socket.send_to(b"!", path) {
        // It was rung often enough.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        rung => rung.map(drop),
    }
}
