//! What a certificate authority asks for, to see that a name leads here (RFC 8555 §8.3):
//! kennel-acme puts the answers into files.
//!
//! Before everything else, over plain HTTP as well: the name may have no certificate yet, and
//! nobody behind it knows the answer.

use std::path::Path;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response};
use kennel_core::Layout;

use crate::body::Body;

/// The answer, if this is such a question and it was told. What it was not told may be a service's
/// own to answer.
pub(crate) async fn answer(
    directory: &Path,
    method: &Method,
    path: &str,
) -> Option<Response<Body>> {
    let token = path.strip_prefix(Layout::CHALLENGE_PATH)?;
    if *method != Method::GET || !Layout::is_challenge(token) {
        return None;
    }
    let text = tokio::fs::read(directory.join(token)).await.ok()?;
    let len = text.len();
    let mut response = Response::new(Body::full(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}
