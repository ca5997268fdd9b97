//! A client's HTTP/1 connection from its first byte to its last.
//!
//! Over any stream: TLS is made before. A panic in here costs this connection and no other, since
//! each has its own task.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::answer;
use crate::client::{Client, Verdict};
use crate::limits::HEAD_BYTES;
use crate::tunnel;
use crate::wire::Wire;
use crate::worker::Worker;

/// How it ended.
enum Ended {
    /// By what HTTP says.
    Orderly,
    /// By a deadline, or because one side broke it.
    Broken,
    /// It has not, and has nothing to do.
    AtRest,
}

/// The most that is read and thrown away after an answer that came before its request's end.
const DISCARDED: u64 = 4 << 20;

/// Serves a connection until it ends, or has nothing to do for a while: then its stream comes back,
/// and all that was held for it is free.
pub(crate) async fn serve<S>(worker: Rc<Worker>, client: Rc<Client>, stream: S) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = {
        let (worker, client) = (Rc::clone(&worker), Rc::clone(&client));
        // Boxed, since hyper wants a future that can be moved to give the stream back.
        service_fn(move |request| Box::pin(answer(Rc::clone(&worker), &client, request)))
    };
    let io = TokioIo::new(Wire::new(stream, Rc::clone(&client)));
    let mut connection = Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_header_size(HEAD_BYTES)
        // The client's own deadlines do this without a timer per request.
        .header_read_timeout(None)
        .serve_connection(io, service);

    let mut told = false;
    let ended = poll_fn(|cx| {
        client.remember(cx.waker());
        if client.verdict() == Some(Verdict::Close) {
            return Poll::Ready(Ended::Broken);
        }
        let mut polled = connection.poll_without_shutdown(cx);
        // Not before: a request that has come already is answered.
        let may_go = || worker.is_closing() && client.may_go(worker.limits.linger);
        if polled.is_pending() && !told && may_go() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
            polled = connection.poll_without_shutdown(cx);
        }
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ended::Orderly),
            Poll::Ready(Err(_left_or_malformed)) => Poll::Ready(Ended::Broken),
            Poll::Pending if !told && client.rests() => Poll::Ready(Ended::AtRest),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;

    match ended {
        Ended::Orderly => {}
        Ended::Broken => return None,
        Ended::AtRest => {
            let parts = connection.into_parts();
            // Whatever was read has begun a request.
            debug_assert!(parts.read_buf.is_empty());
            return parts.read_buf.is_empty().then(|| parts.io.into_inner().into_inner());
        }
    }
    let upgraded = client.tunnel.borrow_mut().take();
    if let Some(service) = upgraded {
        let parts = connection.into_parts();
        client.becomes_tunnel();
        let tunnel =
            tunnel::run(Rc::clone(&worker), parts.io.into_inner(), parts.read_buf, service);
        tunnel.await;
    } else if client.is_body_open() {
        let stream = connection.into_parts().io.into_inner();
        // Whatever happens here, the answer has been sent.
        let _ended = timeout(worker.limits.discard, discard(stream)).await;
    } else if client.secured().is_some() {
        // TLS says its last word itself (RFC 8446 §6.1); without it the end looks cut off.
        let mut stream = connection.into_parts().io.into_inner();
        let _ended = timeout(worker.limits.discard, stream.shutdown()).await;
    }
    None
}

/// Waits until the client says something. False if the connection is to end before.
pub(crate) async fn rest(worker: &Worker, client: &Client, stream: &TcpStream) -> bool {
    poll_fn(|cx| {
        client.remember(cx.waker());
        if client.verdict() == Some(Verdict::Close) || worker.is_closing() {
            return Poll::Ready(false);
        }
        stream.poll_read_ready(cx).map(|ready| ready.is_ok())
    })
    .await
}

/// Lets the client read the answer: closing a socket with unread bytes resets it, and the answer
/// is lost on the way.
async fn discard<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DISCARDED), &mut tokio::io::sink()).await
}
