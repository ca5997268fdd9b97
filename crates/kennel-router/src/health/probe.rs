//! One look: `GET` on the health path answers 200, as kennel-deploy asks before a service serves.

use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kennel_core::{Look, Protocol, Timestamp};
use kennel_systemd::call_service;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::pulse::Watched;
use crate::say;
use crate::trunk::Local;
use crate::upstream::Address;

/// A head is all that is read.
const HEAD_BYTES: usize = 16 << 10;

/// Looks once, for at most `limit`.
pub(super) async fn look(watched: &Watched, limit: Duration) -> Look {
    let (at, begun) = (Timestamp::from(SystemTime::now()), Instant::now());
    let answer = timeout(limit, ask(watched)).await;
    let answer = answer.unwrap_or_else(|_late| Err(say::look_late(limit)));
    let (healthy, answer) = match answer {
        Ok(StatusCode::OK) => (true, say::look_healthy()),
        Ok(status) => (false, say::look_answered(status)),
        Err(why) => (false, why),
    };
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Look { at, took_ms, healthy, answer }
}

async fn ask(watched: &Watched) -> Result<StatusCode, String> {
    let Watched { address, protocol, path, .. } = watched;
    let Address::Service { port, fork } = address else { return Err(say::look_refused()) };
    let Ok(stream) = call_service(*port, *fork).await else { return Err(say::look_refused()) };
    // kennel-deploy has asked for it before; only a table from elsewhere has a path that is none.
    let impossible = |_: hyper::http::Error| say::look_impossible();
    let request = Request::builder().header(USER_AGENT, "kennel-router");
    let whole = format!("http://127.0.0.1:{port}{path}");
    let status = match protocol {
        Protocol::Http1 => {
            let host = format!("127.0.0.1:{port}");
            let request = request.uri(&**path).header(HOST, host).header(CONNECTION, "close");
            over_http1(stream, request.body(Empty::new()).map_err(impossible)?).await
        }
        Protocol::H2c if **path == *Protocol::GRPC_CHECK => {
            let request = request.method(Method::POST).uri(whole).header(TE, "trailers");
            let request = request.header(CONTENT_TYPE, "application/grpc");
            let question = Full::new(Bytes::from_static(&Protocol::GRPC_QUESTION));
            return over_grpc(stream, request.body(question).map_err(impossible)?).await;
        }
        Protocol::H2c => {
            let request = request.uri(whole).body(Full::default()).map_err(impossible)?;
            over_h2c(stream, request).await.map(|response| response.status())
        }
    };
    status.map_err(|error| say::look_broken(&error))
}

async fn over_h2c(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let mut builder = http2::Builder::new(Local);
    builder.max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is gone, and the answer.
    spawn_local(connection);
    sender.send_request(request).await
}

/// What a service says of itself in gRPC, as 200 if that is good.
async fn over_grpc(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<StatusCode, String> {
    let response = over_h2c(stream, request).await.map_err(|error| say::look_broken(&error))?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Ok(head.status);
    }
    let body = Limited::new(body, HEAD_BYTES).collect().await;
    let body = body.map_err(|_broken| say::look_not_serving())?;
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    let is_well = trailers.get("grpc-status").is_some_and(|status| status == "0");
    let is_serving = is_well && *body.to_bytes() == Protocol::GRPC_SERVING;
    if is_serving { Ok(StatusCode::OK) } else { Err(say::look_not_serving()) }
}

/// The answer's status. Its body is of no interest.
async fn over_http1(
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, hyper::Error> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream)).await?;
    let response = sender.send_request(request);
    tokio::pin!(response, connection);
    tokio::select! {
        response = &mut response => response,
        ended = &mut connection => {
            ended?;
            response.await
        }
    }
    .map(|response| response.status())
}
