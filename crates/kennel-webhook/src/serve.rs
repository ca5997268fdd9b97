//! Accepting connections, and knowing when to leave.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use crate::limits::Limits;
use crate::listeners::{Connection, Listeners};
use crate::room::{Room, Seat};

/// Bytes of headers per connection at most. Forges send 1 to 2 KiB.
const MAX_HEADERS: usize = 32 << 10;

/// How long to wait after a failed accept: it fails again at once while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// What one sender may cost.
    fn limits(&self) -> &Limits;

    /// What systemd shows of it.
    fn status(&self) -> String;

    /// Answers one request, and tells the seat when it has been sent whole.
    fn respond(
        &self,
        request: Request<Incoming>,
        seat: &Seat,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;

    /// A connection had to be closed for another.
    fn crowded(&self);

    /// Everything is answered.
    fn finish(self);
}

/// Why [`serve`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody had a connection for the given time.
    Idle,
    /// It was told to.
    Stopped,
}

/// Answers requests until `stop` is ready, or until there was no connection for `idle_exit`.
///
/// Leaving loses nothing: what is not accepted yet stays in the sockets, which are systemd's. When
/// this returns, every request that was accepted is answered, or its [`crate::Limits::linger`] is
/// over, and the inbox is closed.
pub async fn serve<S: Service>(
    listeners: Listeners,
    service: S,
    idle_exit: Option<Duration>,
    stop: impl Future<Output = ()>,
) -> End {
    kennel_systemd::ready(&service.status());
    let limits = *service.limits();
    let service = Arc::new(service);
    let mut connections = JoinSet::new();
    let room = Room::default();
    let mut quiet_since = Instant::now();
    let mut stop = pin!(stop);
    let end = loop {
        if room.keep_within(&limits) {
            service.crowded();
        }
        let opens_at = room.opens_at(&limits);
        let is_open = opens_at.is_some_and(|opens_at| opens_at <= Instant::now());
        let leave_at = idle_exit.filter(|_| connections.is_empty()).map(|idle| quiet_since + idle);
        tokio::select! {
            // In this order: whoever knocks in the last moment is let in, not left to the next start.
            biased;
            () = &mut stop => break End::Stopped,
            accepted = listeners.accept(), if is_open => {
                let (service, seat) = (Arc::clone(&service), room.enter());
                match accepted {
                    Ok(Connection::Unix(stream)) => {
                        connections.spawn(converse(stream, service, seat));
                    }
                    Ok(Connection::Tcp(stream)) => {
                        connections.spawn(converse(stream, service, seat));
                    }
                    Err(error) => accept_failed(&error).await,
                }
            }
            Some(_ended) = connections.join_next() => quiet_since = Instant::now(),
            () = until(opens_at), if !is_open => {}
            () = until(leave_at) => break End::Idle,
        }
    };
    kennel_systemd::stopping();
    drop(listeners);
    let all_answered = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.linger, all_answered).await.is_err() {
        warn!("leaving without the answer to {} requests", connections.len());
        connections.shutdown().await;
    }
    if let Some(service) = Arc::into_inner(service) {
        service.finish();
    }
    end
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn accept_failed(error: &io::Error) {
    // A connection that was given up before it was accepted is no trouble of ours.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        warn!("accepting a connection: {error}, ignoring: it waits in the socket's queue");
        sleep(ACCEPT_PAUSE).await;
    }
}

async fn converse<C>(stream: C, service: Arc<impl Service>, seat: Seat)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let limits = service.limits();
    let whole = limits.header_time + limits.body_time + limits.inbox_time + limits.linger;
    let respond =
        service_fn(|request| async { Ok::<_, Infallible>(service.respond(request, &seat).await) });
    let connection = http1::Builder::new()
        // One request each. A connection kept for later could be closed by an idle exit just as
        // its next request is sent, and nobody repeats a POST.
        .keep_alive(false)
        // Who has sent a request may close its side and wait.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), respond);
    // A sender that hangs up or never reads its answer is its own trouble, and writing that down
    // would let strangers fill the journal.
    tokio::select! {
        _ended = timeout(whole, connection) => {}
        () = seat.asked_to_leave() => {}
    }
}
