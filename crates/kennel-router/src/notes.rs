//! What is noted of a request: its id, how long it took, and what becomes an entry of the journal.
//!
//! Made only where the operator asks for any of it: without, a request has none, and no clock is
//! looked at. Formatted when the answer has been sent, so that nobody waits for it.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode, Uri, Version};
use kennel_core::config::{AccessLog, RouterConfig};
use kennel_core::{DeploymentId, RouteOutput};

use crate::exchange::Exchange;
use crate::journal::{Entry, Journal};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// What is logged of a path at most; a page of the journal for one request is enough.
const PATH_BYTES: usize = 2048;

/// What is to be noted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noting {
    request_id: bool,
    server_timing: bool,
    log: AccessLog,
    sample: u32,
    query: bool,
}

impl Noting {
    /// None if there is nothing to note.
    pub(crate) fn new(config: &RouterConfig) -> Option<Self> {
        let noting = Self {
            request_id: config.request_id,
            server_timing: config.server_timing,
            log: config.access_log,
            sample: config.access_log_sample.max(1),
            query: config.access_log_query,
        };
        let is_any = noting.request_id || noting.server_timing || !noting.log.is_off();
        is_any.then_some(noting)
    }
}

/// What is noted of one request.
pub(crate) struct Notes {
    noting: Noting,
    began: Instant,
    /// When the service began to answer.
    answered: Cell<Option<Instant>>,
    id: HeaderValue,
    method: Method,
    target: Uri,
    host: Option<HeaderValue>,
    version: Version,
    route: RefCell<Option<Noted>>,
    status: Cell<StatusCode>,
    bytes: Cell<u64>,
    broke: Cell<bool>,
    journal: Arc<Journal>,
}

/// Who answers.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) output: Option<Arc<RouteOutput>>,
    pub(crate) deployment: Option<DeploymentId>,
}

impl Notes {
    /// Begins with a request's head, which gets its id. `is_trusted`: whether a trusted proxy asks,
    /// whose own id is kept then.
    pub(crate) fn begin(
        noting: Noting,
        version: Version,
        parts: &mut Parts,
        is_trusted: bool,
        journal: &Arc<Journal>,
    ) -> Self {
        let said = parts.headers.get(X_REQUEST_ID).filter(|id| is_trusted && is_id(id.as_bytes()));
        let id = said.cloned().unwrap_or_else(new_id);
        if noting.request_id {
            parts.headers.insert(X_REQUEST_ID, id.clone());
        }
        Self {
            noting,
            began: Instant::now(),
            answered: Cell::new(None),
            id,
            method: parts.method.clone(),
            target: parts.uri.clone(),
            host: parts.headers.get(HOST).cloned(),
            version,
            route: RefCell::new(None),
            status: Cell::new(StatusCode::OK),
            bytes: Cell::new(0),
            broke: Cell::new(false),
            journal: Arc::clone(journal),
        }
    }

    /// This one answers.
    pub(crate) fn is_for(&self, route: impl FnOnce() -> Noted) {
        if !self.noting.log.is_off() {
            self.route.replace(Some(route()));
        }
    }

    /// The service has begun to answer.
    pub(crate) fn answered(&self) {
        self.answered.set(Some(Instant::now()));
    }

    /// So many bytes of the answer's body are being sent.
    pub(crate) fn sends(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(u64::try_from(bytes).unwrap_or(0)));
    }

    /// The answer broke off on this side.
    pub(crate) fn broke(&self) {
        self.broke.set(true);
    }

    /// An answer begins: what it says of the request.
    pub(crate) fn tell(&self, status: StatusCode, headers: &mut HeaderMap) {
        self.status.set(status);
        if self.noting.request_id {
            headers.insert(X_REQUEST_ID, self.id.clone());
        }
        if self.noting.server_timing
            && let Ok(timing) = HeaderValue::from_str(&self.timing())
        {
            // A service may have its own beside it.
            headers.append(SERVER_TIMING, timing);
        }
    }

    fn timing(&self) -> String {
        let all = millis(self.began.elapsed());
        match self.answered.get() {
            Some(answered) => {
                let service = millis(answered.saturating_duration_since(self.began));
                format!("service;dur={service}, router;dur={all}")
            }
            None => format!("router;dur={all}"),
        }
    }

    /// The answer has been sent, or as much of it as the client took.
    pub(crate) fn end(&self, exchange: &Exchange, is_complete: bool) {
        // The answer to HEAD has no body to be taken.
        let is_complete = is_complete || self.method == Method::HEAD;
        let is_error = self.broke.get() || self.status.get().as_u16() >= 500;
        let is_logged = match self.noting.log {
            AccessLog::Off => false,
            AccessLog::Errors => is_error,
            AccessLog::Sampled => is_error || fastrand::u32(..self.noting.sample) == 0,
            AccessLog::All => true,
        };
        if is_logged {
            let entry =
                self.entry(exchange.address(), exchange.is_secured(), is_complete, is_error);
            self.journal.write(entry);
        }
    }

    fn entry(&self, client: IpAddr, is_secured: bool, is_complete: bool, is_error: bool) -> Entry {
        let took = self.began.elapsed();
        let authority = self.target.authority().map(|it| it.as_str().as_bytes());
        let host = authority.or(self.host.as_ref().map(HeaderValue::as_bytes)).unwrap_or_default();
        let path = if self.noting.query {
            self.target.path_and_query().map_or("", |it| it.as_str())
        } else {
            self.target.path()
        };
        let path = path.as_bytes();
        let path = path.get(..PATH_BYTES).unwrap_or(path);
        let mut number = Vec::with_capacity(32);
        let mut shown = |value: &dyn std::fmt::Display| {
            number.clear();
            // Writing to memory does not fail.
            let _infallible = write!(number, "{value}");
            number.clone()
        };
        let mut entry = Entry::new();
        let method = self.method.as_str().as_bytes();
        let status = self.status.get().as_u16();
        let bytes = self.bytes.get();
        let rest = shown(&format_args!(" {status} {bytes} bytes in {} ms", millis(took)));
        entry.field("MESSAGE", &[method, b" ", host, path, &rest].concat());
        entry.field("PRIORITY", if is_error { b"4" } else { b"6" });
        entry.field("SYSLOG_IDENTIFIER", b"kennel-router");
        entry.field("MESSAGE_ID", AccessLog::MESSAGE_ID.as_bytes());
        if let Some(route) = &*self.route.borrow() {
            if let Some(output) = &route.output {
                entry.field("KENNEL_PROJECT", output.project.as_str().as_bytes());
                entry.field("KENNEL_BRANCH", output.branch.as_bytes());
                entry.field("KENNEL_SERVICE", output.service.as_str().as_bytes());
            }
            if let Some(deployment) = route.deployment {
                entry.field("KENNEL_DEPLOYMENT", &shown(&deployment));
            }
        }
        entry.field("HTTP_METHOD", method);
        entry.field("HTTP_HOST", host);
        entry.field("HTTP_PATH", path);
        entry.field("HTTP_STATUS", &shown(&status));
        entry.field("HTTP_BYTES", &shown(&bytes));
        entry.field("DURATION_USEC", &shown(&took.as_micros()));
        if let Some(answered) = self.answered.get() {
            let service = answered.saturating_duration_since(self.began);
            entry.field("SERVICE_USEC", &shown(&service.as_micros()));
        }
        if !is_complete {
            entry.field("HTTP_ABORTED", if self.broke.get() { b"service" } else { b"client" });
        }
        entry.field("CLIENT", &shown(&client));
        entry.field("REQUEST_ID", self.id.as_bytes());
        entry.field(
            "PROTOCOL",
            match self.version {
                Version::HTTP_2 => b"HTTP/2",
                Version::HTTP_10 => b"HTTP/1.0",
                _ => b"HTTP/1.1",
            },
        );
        entry.field("SCHEME", if is_secured { b"https" } else { b"http" });
        entry
    }
}

/// With three digits behind the point, as `Server-Timing` has it.
fn millis(time: Duration) -> String {
    let micros = time.as_micros();
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

/// 16 hexadecimal digits: short, and the same one no sooner than after some 10^9 requests.
fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut rest = fastrand::u64(..);
    let text: [u8; 16] = std::array::from_fn(|_| {
        let digit = usize::try_from(rest & 0xf).unwrap_or_default();
        rest >>= 4;
        DIGITS.get(digit).copied().unwrap_or(b'0')
    });
    // Digits are a field's value.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

/// Whether a proxy's id is one that can be passed on, into logs too.
fn is_id(id: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b);
    (1..=128).contains(&id.len()) && id.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn notes(config: &RouterConfig, id: Option<&str>, is_trusted: bool) -> (Notes, Parts) {
        let mut request = Request::get("/a/b?token=secret").header("host", "Shop.example");
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let journal = Arc::new(Journal::new("/nonexistent".into()));
        let noting = Noting::new(config).unwrap();
        (Notes::begin(noting, parts.version, &mut parts, is_trusted, &journal), parts)
    }

    fn logging() -> RouterConfig {
        RouterConfig { access_log: AccessLog::All, ..RouterConfig::default() }
    }

    #[test]
    fn an_entry() {
        let (notes, _) = notes(&logging(), Some("abc"), true);
        notes.is_for(|| Noted {
            output: Some(Arc::new(RouteOutput {
                project: "shop".parse().unwrap(),
                branch: "feature/x".into(),
                service: "api".parse().unwrap(),
            })),
            deployment: Some(DeploymentId::from_row(7)),
        });
        notes.tell(StatusCode::BAD_GATEWAY, &mut HeaderMap::new());
        notes.sends(1000);
        notes.sends(234);
        let entry = notes.entry("2001:db8::7".parse().unwrap(), true, true, true);
        let text: Vec<String> = entry
            .text()
            .lines()
            .map(|line| match line.split_once('=') {
                Some((name @ "DURATION_USEC", _)) => format!("{name}=…"),
                Some(("MESSAGE", text)) => {
                    format!("MESSAGE={} in … ms", text.split(" in ").next().unwrap())
                }
                _ => line.to_owned(),
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"), @"
        MESSAGE=GET Shop.example/a/b 502 1234 bytes in … ms
        PRIORITY=4
        SYSLOG_IDENTIFIER=kennel-router
        MESSAGE_ID=8c3f4b0d6f5e4c0b9d0a7b61c2a4e97f
        KENNEL_PROJECT=shop
        KENNEL_BRANCH=feature/x
        KENNEL_SERVICE=api
        KENNEL_DEPLOYMENT=7
        HTTP_METHOD=GET
        HTTP_HOST=Shop.example
        HTTP_PATH=/a/b
        HTTP_STATUS=502
        HTTP_BYTES=1234
        DURATION_USEC=…
        CLIENT=2001:db8::7
        REQUEST_ID=abc
        PROTOCOL=HTTP/1.1
        SCHEME=https
        ");
    }

    #[test]
    fn a_query_is_logged_only_if_asked_for() {
        let path = |config: &RouterConfig| {
            let (notes, _) = notes(config, None, false);
            let entry = notes.entry("192.0.2.1".parse().unwrap(), false, false, false);
            let text = entry.text().to_owned();
            assert!(text.contains("HTTP_ABORTED=client\n"), "{text}");
            text.lines().find_map(|line| line.strip_prefix("HTTP_PATH=")).unwrap().to_owned()
        };
        assert_eq!(path(&logging()), "/a/b");
        let with_query = RouterConfig { access_log_query: true, ..logging() };
        assert_eq!(path(&with_query), "/a/b?token=secret");
    }

    #[test]
    fn ids_are_passed_on_from_trusted_proxies_alone() {
        let config = RouterConfig { request_id: true, ..RouterConfig::default() };
        let id = |said: Option<&str>, is_trusted| {
            let (notes, parts) = notes(&config, said, is_trusted);
            let mut headers = HeaderMap::new();
            notes.tell(StatusCode::OK, &mut headers);
            assert_eq!(headers[X_REQUEST_ID], parts.headers[X_REQUEST_ID]);
            headers[X_REQUEST_ID].to_str().unwrap().to_owned()
        };
        assert_eq!(id(Some("req-1.a"), true), "req-1.a");
        let long = "a".repeat(129);
        for (said, is_trusted) in
            [(None, true), (Some("req-1"), false), (Some("a b"), true), (Some(&*long), true)]
        {
            let id = id(said, is_trusted);
            assert_eq!(id.len(), 16, "{id}");
            assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        }
        assert_ne!(id(None, false), id(None, false));
    }

    #[test]
    fn timing_is_told_beside_the_services_own() {
        let config = RouterConfig { server_timing: true, ..RouterConfig::default() };
        let (notes, parts) = notes(&config, None, false);
        assert!(!parts.headers.contains_key(X_REQUEST_ID));
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=1"));
        notes.answered();
        notes.tell(StatusCode::OK, &mut headers);
        let all: Vec<&str> =
            headers.get_all(SERVER_TIMING).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(all[0], "db;dur=1");
        assert!(all[1].starts_with("service;dur=0.") && all[1].contains(", router;dur=0."));
        assert_eq!(millis(Duration::from_micros(12_034)), "12.034");
    }

    #[test]
    fn nothing_asked_for_is_nothing_noted() {
        assert!(Noting::new(&RouterConfig::default()).is_none());
    }
}
