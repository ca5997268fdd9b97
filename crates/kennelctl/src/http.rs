//! One small HTTP request over one connection: the status of the router, the health of services.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// No answer of the router comes near it, with thousands of routes.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// Asking in HTTP failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("it does not answer in HTTP")]
    Http(#[source] hyper::Error),
    #[error("it cannot be asked for")]
    Request(#[source] hyper::http::Error),
    #[error("its answer breaks off or is too long")]
    Body,
}

/// The answer's status, and its body if `with_body`.
pub(crate) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    with_body: bool,
) -> Result<(StatusCode, Bytes), Trouble> {
    let request = Request::get(path).body(Empty::new()).map_err(Trouble::Request)?;
    send(stream, host, request, with_body).await
}

/// Sends a request that has all headers but those that every request of this program has.
pub(crate) async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    mut request: Request<Empty<Bytes>>,
    with_body: bool,
) -> Result<(StatusCode, Bytes), Trouble> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Trouble::Http)?;
    // The connection does the reading and writing. In a set, since dropping that ends it, also
    // when a time limit drops this future.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let name = HeaderValue::from_str(host).map_err(|error| Trouble::Request(error.into()))?;
    request.headers_mut().insert(HOST, name);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("kennelctl"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let (head, body) = sender.send_request(request).await.map_err(Trouble::Http)?.into_parts();
    let body = if with_body {
        let whole = Limited::new(body, LARGEST_BODY).collect().await;
        whole.map_err(|_| Trouble::Body)?.to_bytes()
    } else {
        Bytes::new()
    };
    Ok((head.status, body))
}
