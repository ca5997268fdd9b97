//! A client's HTTP/1 connection from its first byte to its last.
//!
//! Over any stream: TLS is made before. A panic in here costs this connection and no other, since
//! each has its own task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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
}

/// The most that is read and thrown away after an answer that came before its request's end.
const DISCARDED: u64 = 4 << 20;

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(worker: Rc<Worker>, client: Rc<Client>, stream: S)
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
        if worker.is_closing() && !told {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(cx).map(|ended| match ended {
            Ok(()) => Ended::Orderly,
            Err(_left_or_malformed) => Ended::Broken,
        })
    })
    .await;

    let Ended::Orderly = ended else { return };
    let upgraded = client.tunnel.borrow_mut().take();
    if let Some(service) = upgraded {
        let parts = connection.into_parts();
        client.becomes_tunnel();
        let tunnel =
            tunnel::run(Rc::clone(&worker), parts.io.into_inner(), parts.read_buf, service);
        let mut tunnel = pin!(tunnel);
        // Nobody waits for a tunnel on the way out: it has no end by itself.
        poll_fn(|cx| if worker.is_closing() { Poll::Ready(()) } else { tunnel.as_mut().poll(cx) })
            .await;
    } else if client.is_body_open() {
        let stream = connection.into_parts().io.into_inner();
        // Whatever happens here, the answer has been sent.
        let _ended = timeout(worker.limits.discard, discard(stream)).await;
    } else if client.secured().is_some() {
        // TLS says its last word itself (RFC 8446 §6.1); without it the end looks cut off.
        let mut stream = connection.into_parts().io.into_inner();
        let _ended = timeout(worker.limits.discard, stream.shutdown()).await;
    }
}

/// Lets the client read the answer: closing a socket with unread bytes resets it, and the answer
/// is lost on the way.
async fn discard<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DISCARDED), &mut tokio::io::sink()).await
}
