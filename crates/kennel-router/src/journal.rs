//! Entries of the access log on their way to the journal, in its own protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>): one datagram each, one line per field.
//!
//! A thread of its own sends them, so that a journal that is slow keeps no worker waiting. It begins
//! with the first entry, and without an access log there never is one.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Entries that wait for the journal; one more is dropped. At about 500 bytes each, 2 MiB.
const WAITING: usize = 4096;

/// The way to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Where the journal listens.
    socket: PathBuf,
    entries: OnceLock<Option<SyncSender<Entry>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    waiting: AtomicUsize,
}

/// One entry.
#[derive(Debug, Default)]
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// With room for what a request has to say.
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(768))
    }

    /// Adds a field. What would begin another one does not.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        let from = self.0.len();
        self.0.extend_from_slice(value);
        let added = self.0.get_mut(from..).unwrap_or_default();
        added.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        self.0.push(b'\n');
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap()
    }
}

impl Journal {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, entries: OnceLock::new(), shared: Arc::default() }
    }

    /// Hands an entry over, or drops it if too many wait.
    pub(crate) fn write(&self, entry: Entry) {
        let entries = self.entries.get_or_init(|| self.start());
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let is_taken = entries.as_ref().is_some_and(|entries| entries.try_send(entry).is_ok());
        if !is_taken {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many entries did not reach the journal.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The same in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        let dropped = self.dropped();
        format!(
            "# HELP kennel_router_access_log_dropped_total Requests that the journal did not take.\n# TYPE kennel_router_access_log_dropped_total counter\nkennel_router_access_log_dropped_total {dropped}\n"
        )
    }

    /// Waits until none waits any more, but not for long.
    pub(crate) fn finish(&self) {
        const PATIENCE: Duration = Duration::from_millis(250);
        let start = Instant::now();
        while self.shared.waiting.load(Ordering::Relaxed) > 0 && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// None if there can be no thread: then every entry is dropped, and counted.
    fn start(&self) -> Option<SyncSender<Entry>> {
        let (sender, entries) = sync_channel(WAITING);
        let (socket, shared) = (self.socket.clone(), Arc::clone(&self.shared));
        let thread = thread::Builder::new().name("journal".into()).stack_size(128 << 10);
        thread.spawn(move || send_all(&socket, &shared, &entries)).ok().map(|_thread| sender)
    }
}

fn send_all(path: &std::path::Path, shared: &Shared, entries: &Receiver<Entry>) {
    let socket = UnixDatagram::unbound();
    while let Ok(Entry(bytes)) = entries.recv() {
        // Not connected, so that a journal that was started anew gets the next one.
        let sent = socket.as_ref().is_ok_and(|socket| socket.send_to(&bytes, path).is_ok());
        if !sent {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> Entry {
        let mut entry = Entry::new();
        entry.field("MESSAGE", message.as_bytes());
        entry
    }

    #[test]
    fn entries_arrive_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::new(path);
        journal.write(entry("one\nKENNEL_PROJECT=other"));
        let mut bytes = [0; 1024];
        let len = listener.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"MESSAGE=one KENNEL_PROJECT=other\n");
        journal.finish();
        assert_eq!(journal.dropped(), 0);
    }

    #[test]
    fn without_a_journal_they_are_counted() {
        let journal = Journal::new("/nonexistent/socket".into());
        journal.write(entry("one"));
        journal.write(entry("two"));
        journal.finish();
        assert_eq!(journal.dropped(), 2);
    }

    #[test]
    fn a_journal_that_does_not_read_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _silent = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::new(path);
        // More than what waits, what is being sent and what the socket's own queue holds.
        for _ in 0..4 * WAITING {
            journal.write(entry("one"));
        }
        assert!(journal.dropped() > 0);
    }
}
