//! Asking the router what was used.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennel_core::LastUse;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The router answers from memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// The router does not say what was used.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// Nobody listens, or it hung up.
    #[error("it cannot be reached")]
    Connect(#[source] io::Error),
    /// What it said is no HTTP.
    #[error("it does not answer in HTTP")]
    Http(#[from] hyper::Error),
    /// It answered something else.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// Its answer is not what was asked for.
    #[error("its answer cannot be read")]
    Answer(#[from] serde_json::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    Late,
}

/// What was used, and when, since the router started.
pub(crate) async fn last_use(socket: &Path) -> Result<LastUse, RouterError> {
    timeout(PATIENCE, ask(socket)).await.map_err(|_| RouterError::Late)?
}

async fn ask(socket: &Path) -> Result<LastUse, RouterError> {
    let stream = UnixStream::connect(socket).await.map_err(RouterError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = hyper::Uri::from_static("/last-use");
    request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("router"));
    request.headers_mut().insert("connection", hyper::header::HeaderValue::from_static("close"));
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    if status != StatusCode::OK {
        return Err(RouterError::Status(status));
    }
    Ok(serde_json::from_slice(&body)?)
}
