//! One look: `GET` on the health path answers 200, as kennel-deploy asks before a service serves.

use std::time::{Duration, Instant, SystemTime};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennel_core::{Look, Timestamp};
use kennel_systemd::call_service;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::pulse::Watched;
use crate::say;
use crate::upstream::Address;

/// A head is all that is read.
const HEAD_BYTES: usize = 16 << 10;

/// Looks once, for at most `limit`.
pub(super) async fn look(watched: &Watched, limit: Duration) -> Look {
    let (at, begun) = (Timestamp::from(SystemTime::now()), Instant::now());
    let answer = timeout(limit, ask(&watched.address, &watched.path)).await;
    let answer = answer.unwrap_or_else(|_late| Err(say::look_late(limit)));
    let (healthy, answer) = match answer {
        Ok(StatusCode::OK) => (true, say::look_healthy()),
        Ok(status) => (false, say::look_answered(status)),
        Err(why) => (false, why),
    };
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Look { at, took_ms, healthy, answer }
}

async fn ask(address: &Address, path: &str) -> Result<StatusCode, String> {
    let Address::Service { port, fork } = address else { return Err(say::look_refused()) };
    let Ok(stream) = call_service(*port, *fork).await else { return Err(say::look_refused()) };
    let request = Request::get(path)
        .header(HOST, format!("127.0.0.1:{port}"))
        .header(USER_AGENT, "kennel-router")
        .header(CONNECTION, "close")
        .body(Empty::new());
    // kennel-deploy has asked for it before; only a table from elsewhere has a path that is none.
    let request = request.map_err(|_| say::look_impossible())?;
    over_http1(stream, request).await.map_err(|error| say::look_broken(&error))
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
