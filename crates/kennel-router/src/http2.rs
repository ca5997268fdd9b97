//! A client's HTTP/2 connection (RFC 9113): any number of requests side by side.
//!
//! Agreed on by TLS (ALPN) or begun without asking ("prior knowledge"); never by `Upgrade: h2c`,
//! which RFC 9113 has done away with. Each stream is a task, so that a deadline of one leaves the
//! others alone. What a client may hold of the router's memory is bounded below.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::answer::answer;
use crate::client::{Client, Verdict};
use crate::limits::HEAD_BYTES;
use crate::wire::Wire;
use crate::worker::Worker;

/// How ALPN calls it (RFC 9113 §3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// Requests at a time. Each holds at most two pieces of its answer, which are no longer than what
/// is read from a service at once ([`HEAD_BYTES`]): 16 MiB per connection if a client lets all of
/// them wait.
const STREAMS: u32 = 128;
/// Bytes of one request's body that a client may send before a service takes them; what a distant
/// client uploads per round trip.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a head with 32 per field (RFC 9113 §6.5.2): half of [`HEAD_BYTES`], which is for one
/// request, since here are many.
const HEAD_LIST: u32 = 32 << 10;
/// Streams that were reset before they were looked at; more end the connection (CVE-2023-44487).
const RESETS_WAITING: usize = 20;
/// Streams that the router itself had to reset, for what the client did wrong.
const ERRORS: usize = 256;

/// What a connection without TLS begins with, as far as no HTTP/1 request can (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI ";

/// Whether the connection begins as HTTP/2. None if it ends or a deadline passes before it begins.
///
/// A client that sends less than four bytes at first is taken for one of HTTP/1.
pub(crate) async fn begins(worker: &Worker, client: &Client, stream: &TcpStream) -> Option<bool> {
    let mut bytes = [0; PREFACE.len()];
    poll_fn(|cx| {
        client.remember(cx.waker());
        if client.verdict() == Some(Verdict::Close) || worker.is_closing() {
            return Poll::Ready(None);
        }
        let mut peeked = ReadBuf::new(&mut bytes);
        stream
            .poll_peek(cx, &mut peeked)
            .map(|read| Some(read.is_ok() && peeked.filled() == PREFACE))
    })
    .await
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(worker: Rc<Worker>, client: Rc<Client>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    client.becomes_multiplexed();
    let service = {
        let (worker, client) = (Rc::clone(&worker), Rc::clone(&client));
        service_fn(move |request| answer(Rc::clone(&worker), &client, request))
    };
    let connection = Builder::new(Streams(Rc::clone(&client)))
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_LIST)
        .max_send_buf_size(HEAD_BYTES)
        .max_pending_accept_reset_streams(RESETS_WAITING)
        .max_local_error_reset_streams(ERRORS)
        .serve_connection(TokioIo::new(Wire::new(stream, Rc::clone(&client))), service);
    let mut connection = pin!(connection);
    let mut told = false;
    poll_fn(|cx| {
        client.remember(cx.waker());
        if client.verdict() == Some(Verdict::Close) {
            return Poll::Ready(());
        }
        if worker.is_leaving() {
            client.leave();
        }
        if client.verdict() == Some(Verdict::Leave) && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if worker.is_closing() {
            // It has been told for a while, and nobody waits for an answer to that.
            if client.is_left_quiet() {
                return Poll::Ready(());
            }
        }
        // Whoever broke what is nobody's business here: the client knows, or is gone.
        connection.as_mut().poll(cx).map(|_ended| ())
    })
    .await;
    client.cut_all();
}

/// Runs a connection's streams on its worker.
#[derive(Clone)]
struct Streams(Rc<Client>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, stream: F) {
        // hyper hands a stream over right after it has called the service, which began it; what it
        // hands over besides is the sending side of a tunnel, which ends with that.
        let Some(exchange) = self.0.take_newest() else {
            spawn_local(stream);
            return;
        };
        spawn_local(async move {
            let mut stream = pin!(stream);
            poll_fn(|cx| {
                exchange.remember(cx.waker());
                if exchange.is_cut() { Poll::Ready(()) } else { stream.as_mut().poll(cx) }
            })
            .await;
        });
    }
}
