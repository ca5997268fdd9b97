//! The router's figures, handed on as they are.
//!
//! From its status socket, of which this asks for nothing else.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The router answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Thousands of routes stay far below.
const LARGEST: usize = 16 << 20;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    #[error("it does not listen")]
    Connect(#[source] std::io::Error),
    #[error("it does not answer in HTTP")]
    Http(#[source] hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer breaks off or is too long")]
    Body,
    #[error("it did not answer in time")]
    Late,
}

/// Asks the router on its socket.
pub(crate) async fn ask(socket: &Path) -> Result<Bytes, Silent> {
    timeout(PATIENCE, get(socket)).await.unwrap_or(Err(Silent::Late))
}

async fn get(socket: &Path) -> Result<Bytes, Silent> {
    let stream = UnixStream::connect(socket).await.map_err(Silent::Connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Silent::Http)?;
    // In a set, since dropping that ends it.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = hyper::Uri::from_static("/metrics");
    request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("router"));
    request.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    let (head, body) = sender.send_request(request).await.map_err(Silent::Http)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Silent::Status(head.status));
    }
    let whole = Limited::new(body, LARGEST).collect().await;
    Ok(whole.map_err(|_| Silent::Body)?.to_bytes())
}
