//! The answer of a static site to a request.

use std::sync::Arc;

use hyper::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use tracing::warn;

use super::condition::{Answer, decide};
use super::file::{Contents, File, FileBody};
use super::index::{Place, Site};
use super::path::{decode, has_extension};
use crate::body::Body;
use crate::pages::{self, Page};
use crate::say;
use crate::table::Spa;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// Caches may keep everything and must ask each time: a deployment can change any path.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
const INDEX: &str = "index.html";
const NOT_FOUND: &str = "404.html";

impl Site {
    /// Answers a request whose target is this site.
    pub(crate) async fn reply(&self, request: &Parts, spa: Spa) -> Response<Body> {
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = pages::page(Page::MethodNotAllowed);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Ok(key) = decode(request.uri.path()) else { return pages::page(Page::BadTarget) };
        match self.place(key.strip_suffix('/').unwrap_or(&key)) {
            Some(Place::File(file)) if !key.ends_with('/') => return found(file, request).await,
            Some(Place::Folder)
                if self.file(&format!("{}/{INDEX}", key.trim_end_matches('/'))).is_some() =>
            {
                if !key.ends_with('/') {
                    return to_folder(request);
                }
            }
            Some(Place::File(_) | Place::Folder) | None => {}
        }
        if (key.is_empty() || key.ends_with('/'))
            && let Some(file) = self.file(&format!("{key}{INDEX}"))
        {
            return found(file, request).await;
        }
        if spa.0
            && !has_extension(&key)
            && is_navigation(&request.headers)
            && let Some(file) = self.file(INDEX)
        {
            return found(file, request).await;
        }
        match self.file(NOT_FOUND) {
            Some(file) => not_found(file).await,
            None => pages::page(Page::NoSuchFile),
        }
    }
}

/// Whether a person goes to a page, and not a page to one of its parts.
fn is_navigation(headers: &HeaderMap) -> bool {
    match headers.get(SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => headers.get_all(ACCEPT).iter().any(|accept| {
            let accept = accept.as_bytes();
            accept.windows(b"text/html".len()).any(|part| part.eq_ignore_ascii_case(b"text/html"))
        }),
    }
}

/// `/docs` to `/docs/`, so that relative links in the page work. Only the path: which host and
/// scheme the client used is not ours to repeat.
fn to_folder(request: &Parts) -> Response<Body> {
    let path = request.uri.path();
    let location = match request.uri.query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    // `//x/` would be another host; the index has no such path, and this does not depend on it.
    let Some(location) = HeaderValue::from_str(&location).ok().filter(|_| !path.starts_with("//"))
    else {
        return pages::page(Page::BadTarget);
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
    response
}

async fn found(file: &Arc<File>, request: &Parts) -> Response<Body> {
    let contents = match file.open().await {
        Ok(contents) => contents,
        Err(error) => return unreadable(file, &error),
    };
    let tag = contents.tag().clone();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
    let (status, first, len) = match decide(&request.headers, tag.as_bytes(), file.len) {
        Answer::Unchanged => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        Answer::Changed => return pages::page(Page::ConditionFailed),
        Answer::NoSuchPart => {
            let mut response = pages::page(Page::NoSuchPart);
            let range = format!("bytes */{}", file.len);
            if let Ok(range) = HeaderValue::from_str(&range) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
            return response;
        }
        Answer::Whole => (StatusCode::OK, 0, file.len),
        Answer::Part(first, last) => {
            let range = format!("bytes {first}-{last}/{}", file.len);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(CONTENT_RANGE, range);
            }
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
    };
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    describe(headers, file, len);
    *response.status_mut() = status;
    if request.method == Method::GET {
        *response.body_mut() = contents.part(first, len);
    }
    response
}

async fn not_found(file: &Arc<File>) -> Response<Body> {
    let contents = match file.open().await {
        Ok(contents) => contents,
        Err(error) => return unreadable(file, &error),
    };
    let mut response = Response::new(contents.part(0, file.len));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CACHE_CONTROL, ASK_EACH_TIME);
    describe(response.headers_mut(), file, file.len);
    response
}

fn describe(headers: &mut HeaderMap, file: &File, len: u64) {
    headers.insert(CONTENT_TYPE, file.kind.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn unreadable(file: &File, error: &std::io::Error) -> Response<Body> {
    warn!("{}", say::unreadable_file(file.path(), error));
    pages::page(Page::Unreadable)
}

impl Contents {
    fn tag(&self) -> &HeaderValue {
        match self {
            Self::Small(held) => &held.tag,
            Self::Large(_, tag) => tag,
        }
    }

    fn part(&self, first: u64, len: u64) -> Body {
        match self {
            Self::Small(held) => {
                let (Ok(first), Ok(len)) = (usize::try_from(first), usize::try_from(len)) else {
                    return Body::empty();
                };
                Body::full(held.bytes.slice(first..first + len))
            }
            Self::Large(file, _) => Body::file(FileBody::new(Arc::clone(file), first, len)),
        }
    }
}
