//! The answer of a static site to a request.

use std::sync::Arc;

use hyper::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use tracing::warn;

use super::coding::Coding;
use super::condition::{Answer, decide};
use super::file::{Contents, FileBody};
use super::index::{Entry, Place, Site, Unreadable};
use super::path::{decode, has_extension};
use super::rules::Turn;
use super::serving::Serving;
use crate::body::Body;
use crate::pages::{self, Page};
use crate::say;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// Caches may keep everything and must ask each time: a deployment can change any path.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");
/// The name changes with the contents: nobody needs to ask for a year.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const INDEX: &str = "index.html";
const NOT_FOUND: &str = "404.html";

impl Serving {
    /// Answers a request.
    pub(crate) async fn reply(&self, request: &Parts) -> Response<Body> {
        let site = &*self.site;
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = pages::page(Page::MethodNotAllowed);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Ok(key) = decode(request.uri.path()) else { return pages::page(Page::BadTarget) };
        if let Some(turn) = site.rules.as_deref().and_then(|rules| rules.before(&key)) {
            return site.turned(turn, &key, request).await;
        }
        match site.find(&key) {
            Some(Way::File(entry)) => {
                let lasts = entry.is_hashed;
                return site.described(&key, found(entry, request, lasts).await);
            }
            Some(Way::Folder(_)) => return to_folder(request),
            None => {}
        }
        if let Some(entry) = self.former(&key) {
            let lasts = entry.is_hashed;
            return site.described(&key, found(entry, request, lasts).await);
        }
        if let Some(turn) = site.rules.as_deref().and_then(|rules| rules.instead(&key)) {
            return site.turned(turn, &key, request).await;
        }
        if self.spa.0
            && !has_extension(&key)
            && is_navigation(&request.headers)
            && let Some(entry) = site.file(INDEX)
        {
            return site.described(&key, found(entry, request, false).await);
        }
        site.missing(&key, request).await
    }
}

impl Site {
    /// What the site has for a path.
    fn find(&self, key: &str) -> Option<Way<'_>> {
        let is_folder = key.is_empty() || key.ends_with('/');
        match self.place(key.strip_suffix('/').unwrap_or(key)) {
            Some(Place::File(entry)) if !is_folder => return Some(Way::File(entry)),
            Some(Place::Folder) if !is_folder => {
                if let Some(entry) = self.file(&format!("{key}/{INDEX}")) {
                    return Some(Way::Folder(entry));
                }
            }
            Some(Place::File(_) | Place::Folder) | None => {}
        }
        // `/about` for `about.html`, as people write it.
        let name = if is_folder { format!("{key}{INDEX}") } else { format!("{key}.html") };
        self.file(&name).map(Way::File)
    }

    /// Does what a rule says.
    async fn turned(&self, turn: Turn, key: &str, request: &Parts) -> Response<Body> {
        let (path, is_missing) = match turn {
            // A browser that is sent where it is comes back until it gives up.
            Turn::To(_, address) if address == request.uri.path() => {
                return self.missing(key, request).await;
            }
            Turn::To(status, address) => return sent_to(status, address, request),
            Turn::Rewritten(path) => (path, false),
            Turn::NotFound(path) => (path, true),
        };
        match self.find(&path) {
            Some(Way::File(entry) | Way::Folder(entry)) if !is_missing => {
                // The hash is not in the name that the client has.
                self.described(key, found(entry, request, false).await)
            }
            Some(Way::File(entry) | Way::Folder(entry)) => {
                self.described(key, not_found(entry, request).await)
            }
            None => self.missing(key, request).await,
        }
    }

    async fn missing(&self, key: &str, request: &Parts) -> Response<Body> {
        match self.file(NOT_FOUND) {
            Some(entry) => self.described(key, not_found(entry, request).await),
            None => pages::page(Page::NoSuchFile),
        }
    }

    /// Adds the site's own fields to an answer that is the site's.
    fn described(&self, key: &str, mut response: Response<Body>) -> Response<Body> {
        let status = response.status();
        if let Some(rules) = &self.rules
            && matches!(
                status,
                StatusCode::OK
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
                    | StatusCode::NOT_FOUND
            )
        {
            rules.describe(key, status, response.headers_mut());
        }
        response
    }
}

/// What a site has for a path.
enum Way<'a> {
    /// This file.
    File(&'a Entry),
    /// A folder with this page, which is found under the path with a slash.
    Folder(&'a Entry),
}

/// Where a rule sends a browser; the query goes along, unless the rule has one.
fn sent_to(status: StatusCode, mut address: String, request: &Parts) -> Response<Body> {
    if let Some(query) = request.uri.query()
        && !address.contains(['?', '#'])
    {
        address.push('?');
        address.push_str(query);
    }
    let Ok(location) = HeaderValue::try_from(address) else { return pages::page(Page::BadTarget) };
    redirect(status, location)
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
    redirect(StatusCode::PERMANENT_REDIRECT, location)
}

fn redirect(status: StatusCode, location: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
    response
}

async fn found(entry: &Entry, request: &Parts, lasts: bool) -> Response<Body> {
    let (coding, contents) = match entry.open(&request.headers).await {
        Ok(opened) => opened,
        Err(error) => return unreadable(&error),
    };
    let whole = contents.len();
    let tag = contents.tag().clone();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, if lasts { FOR_GOOD } else { ASK_EACH_TIME });
    vary(headers, entry);
    let (status, first, len) = match decide(&request.headers, tag.as_bytes(), whole) {
        Answer::Unchanged => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        Answer::Changed => return pages::page(Page::ConditionFailed),
        Answer::NoSuchPart => {
            let mut response = pages::page(Page::NoSuchPart);
            let range = format!("bytes */{whole}");
            if let Ok(range) = HeaderValue::from_str(&range) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
            return response;
        }
        Answer::Whole => (StatusCode::OK, 0, whole),
        Answer::Part(first, last) => {
            let range = format!("bytes {first}-{last}/{whole}");
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(CONTENT_RANGE, range);
            }
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
    };
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    describe(headers, coding, entry, len);
    *response.status_mut() = status;
    if request.method == Method::GET {
        *response.body_mut() = contents.part(first, len);
    }
    response
}

async fn not_found(entry: &Entry, request: &Parts) -> Response<Body> {
    let (coding, contents) = match entry.open(&request.headers).await {
        Ok(opened) => opened,
        Err(error) => return unreadable(&error),
    };
    let whole = contents.len();
    let mut response = Response::new(contents.part(0, whole));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
    vary(headers, entry);
    describe(headers, coding, entry, whole);
    response
}

/// On every answer that could have been another one, also on 304 (RFC 9110 §15.4.5).
fn vary(headers: &mut HeaderMap, entry: &Entry) {
    if entry.varies() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

fn describe(headers: &mut HeaderMap, coding: Option<Coding>, entry: &Entry, len: u64) {
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, coding.field());
    }
    headers.insert(CONTENT_TYPE, entry.plain.kind.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn unreadable(Unreadable(file, error): &Unreadable<'_>) -> Response<Body> {
    warn!("{}", say::unreadable_file(file.path(), error));
    pages::page(Page::Unreadable)
}

impl Contents {
    fn tag(&self) -> &HeaderValue {
        match self {
            Self::Small(held) => &held.tag,
            Self::Large(_, tag, _) => tag,
        }
    }

    fn len(&self) -> u64 {
        match self {
            // No file is longer than its length fits.
            Self::Small(held) => u64::try_from(held.bytes.len()).unwrap_or(u64::MAX),
            Self::Large(_, _, len) => *len,
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
            Self::Large(file, ..) => Body::file(FileBody::new(Arc::clone(file), first, len)),
        }
    }
}
