//! Two routers for the time of a restart: the one that leaves calls for another one on a socket of
//! systemd's, and goes on until that accepts connections; so nobody ever waits for the next.
//!
//! The other one has the same listeners and is the same program. It stays while somebody has called
//! and a little longer, which is when the next one is there. Knows nothing of requests.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::say;

/// What the caller is told: it may leave.
const HERE: u8 = b'!';

/// A call that was answered. Whoever relieves this router stays as long as this is held.
pub(crate) struct Relieved(#[expect(dead_code, reason = "its end is what counts")] UnixStream);

/// Calls for another router. None if none comes: there is no such socket, or it takes longer than
/// this.
pub(crate) async fn call(path: &Path, limit: Duration) -> Option<Relieved> {
    let called = timeout(limit, async {
        let mut stream = UnixStream::connect(path).await?;
        // Ends without a word if systemd starts nothing any more, as on the way down.
        stream.read_u8().await.map(|_here| Relieved(stream))
    });
    called.await.ok()?.ok()
}

/// Answers whoever calls, and returns when nobody has for `stay`.
pub(crate) async fn hold(listener: UnixListener, stay: Duration) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(callers.spawn_local(answer(stream))),
                Err(error) => {
                    warn!("{}", say::accept_failed(&error));
                    sleep(stay).await;
                }
            },
            Some(_left) = callers.join_next() => {}
            () = sleep(stay), if callers.is_empty() => return,
        }
    }
}

/// Returns when the caller has left.
async fn answer(mut stream: UnixStream) -> io::Result<()> {
    stream.write_u8(HERE).await?;
    stream.read_u8().await.map(|_nothing_to_say| ())
}
