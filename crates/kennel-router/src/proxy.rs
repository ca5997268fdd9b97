//! A request passed to a service, and its answer passed back.
//!
//! Bodies are streams both ways and never held. A request is sent a second time only when that
//! cannot do anything twice: it was not sent, or it is idempotent, has no body, and a kept
//! connection died before the answer began. Everything that is waited for has an end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use kennel_core::error_chain;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::hop;
use crate::pages::{self, Page};
use crate::pool::Lease;
use crate::request_body::{Gate, RequestBody};
use crate::say;
use crate::upstream::{Backend, ConnectError, Upstream, connect};
use crate::worker::Worker;

/// Passes a request on. `authority` is the checked host as the client wrote it.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    exchange: &Rc<Exchange>,
    backend: Arc<Backend>,
    parts: Parts,
    incoming: Incoming,
    authority: &HeaderValue,
) -> Response<Body> {
    let outgoing = prepare(exchange, &backend, parts, incoming, authority);
    let passing = Passing { worker, exchange, backend };
    let upgrade = outgoing.upgrade.clone();
    match passing.send(outgoing).await {
        Ok((response, lease)) => passing.finish(response, lease, upgrade).await,
        Err(failure) => passing.apologise(&failure),
    }
}

/// A request as the service will get it.
struct Outgoing {
    request: Request<RequestBody>,
    /// The protocol that the client wants to change to.
    upgrade: Option<HeaderValue>,
    gate: Option<Gate>,
}

fn prepare(
    exchange: &Rc<Exchange>,
    backend: &Backend,
    mut parts: Parts,
    incoming: Incoming,
    authority: &HeaderValue,
) -> Outgoing {
    let mut body = RequestBody::new(incoming, exchange);
    let has_body = !hyper::body::Body::is_end_stream(&body);
    // In HTTP/2 a body ends by itself, and mostly nobody says how long it will be.
    let is_stream = parts.version == Version::HTTP_2;
    let chunked = parts.headers.contains_key(TRANSFER_ENCODING)
        || (is_stream && has_body && !parts.headers.contains_key(CONTENT_LENGTH));
    let is_http_11 = parts.version == Version::HTTP_11;
    let upgrade = hop::upgrade(&parts.headers).filter(|_| is_http_11 && !has_body);

    hop::strip(&mut parts.headers);
    exchange.client.peer.tell(&mut parts.headers, authority);
    join_cookies(&mut parts.headers);
    if parts.uri.authority().is_some() {
        parts.headers.insert(HOST, authority.clone());
        parts.uri = parts.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    }
    if let Some(prefix) = &backend.prefix {
        prefix.strip(&mut parts);
    }
    if chunked {
        // Without it hyper sends a GET whose length is not known without its body.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = &upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol.clone());
    }
    parts.version = Version::HTTP_11;

    let waits = has_body && expects_continue(&parts);
    let gate = if !waits {
        None
    } else if is_http_11 {
        let (gated, gate) = body.gated();
        body = gated;
        Some(gate)
    } else {
        // RFC 9110 §10.1.1: from an HTTP/1.0 client it means nothing. One of HTTP/2 is not told
        // to go on, since hyper cannot; it sends the body after a moment.
        parts.headers.remove(EXPECT);
        None
    };
    let mut request = Request::from_parts(parts, body);
    if let Some(gate) = gate.clone() {
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                gate.open();
            }
        });
    }
    Outgoing { request, upgrade, gate }
}

/// RFC 9113 §8.2.3: HTTP/2 may send each cookie in a field of its own, and HTTP/1 must not.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in std::iter::once(second).chain(cookies) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        // Made of values, it is one.
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(COOKIE, joined);
        }
    }
}

fn expects_continue(parts: &Parts) -> bool {
    parts
        .headers
        .get(EXPECT)
        .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Why there is no answer to pass back.
enum Failure {
    /// Nobody listens.
    Absent,
    /// There is no place for one more connection.
    Crowded,
    /// It takes too long.
    Late,
    /// What came was no answer.
    Broken(String),
    /// The client's own body broke.
    Client,
}

/// Why one attempt brought no answer.
enum Lost {
    /// Not a byte of it was sent.
    Unsent(Box<Request<RequestBody>>),
    /// The connection ended before the answer.
    Unanswered(String),
    /// What came was no answer.
    Invalid(String),
    /// It took too long.
    Late,
}

struct Passing<'a> {
    worker: &'a Rc<Worker>,
    exchange: &'a Rc<Exchange>,
    backend: Arc<Backend>,
}

impl Passing<'_> {
    async fn send(&self, outgoing: Outgoing) -> Result<(Response<Incoming>, Lease), Failure> {
        let Outgoing { mut request, upgrade, gate } = outgoing;
        let Worker { pool, limits, counters, .. } = &**self.worker;
        let repeatable = is_idempotent(request.method())
            && hyper::body::Body::is_end_stream(request.body())
            && upgrade.is_none();
        // What cannot be repeated goes over a connection that was alive a moment ago, or a new one.
        let age = if repeatable { limits.upstream_idle } else { limits.upstream_fresh };
        let mut kept = if upgrade.is_none() { pool.take(&self.backend.key, age) } else { None };
        let mut connects = 0;
        loop {
            let age = Some(age).filter(|_| upgrade.is_none());
            let (upstream, reused) = match kept.take() {
                Some(upstream) => (upstream, true),
                None => self.connect(age).await?,
            };
            if reused {
                counters.upstream_reuses.up();
            } else {
                connects += 1;
            }
            let spare = (reused && repeatable).then(|| self.copy(&request));
            match self.attempt(upstream, request, gate.as_ref()).await {
                Ok(answered) => return Ok(answered),
                Err(_) if self.exchange.is_body_broken() => return Err(Failure::Client),
                Err(Lost::Late) => return Err(Failure::Late),
                Err(Lost::Invalid(why)) => return Err(Failure::Broken(why)),
                Err(Lost::Unsent(unsent)) if reused || connects < 2 => request = *unsent,
                Err(Lost::Unsent(_)) => {
                    return Err(Failure::Broken("it closes connections at once".into()));
                }
                Err(Lost::Unanswered(why)) => match spare {
                    Some(spare) => request = spare,
                    None => return Err(Failure::Broken(why)),
                },
            }
            counters.upstream_retries.up();
        }
    }

    /// Connects; one more attempt when nobody listens, for the moment between two listeners. Who has
    /// to wait for that may get a connection of at most this `age` which has become free meanwhile:
    /// then it is true that it was used before.
    async fn connect(&self, age: Option<Duration>) -> Result<(Upstream, bool), Failure> {
        let Worker { pool, limits, counters, places, .. } = &**self.worker;
        // Closed by nobody, so that an error is that there is none.
        let _at_the_door = match self.backend.door.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let acquired = timeout(limits.first_byte, self.backend.door.acquire()).await;
                let Ok(Ok(permit)) = acquired else { return Err(Failure::Late) };
                if let Some(kept) = age.and_then(|age| pool.take(&self.backend.key, age)) {
                    return Ok((kept, true));
                }
                permit
            }
        };
        let place = || async {
            if places.available_permits() == 0 {
                // Idle ones hold the places of those that are needed.
                pool.sweep(Instant::now(), Duration::ZERO);
            }
            let acquired = timeout(limits.connect, Arc::clone(places).acquire_owned()).await;
            acquired.ok().and_then(Result::ok).ok_or(Failure::Crowded)
        };
        let mut connected = connect(&self.backend, place().await?, limits).await;
        if let Err(ConnectError::Refused(_)) = connected {
            connected = connect(&self.backend, place().await?, limits).await;
        }
        counters.upstream_connects.up();
        connected.map(|upstream| (upstream, false)).map_err(|error| match error {
            ConnectError::Refused(_) => Failure::Absent,
            ConnectError::Late => Failure::Late,
            ConnectError::Io(_) | ConnectError::Begin(_) => Failure::Broken(error_chain(&error)),
        })
    }

    async fn attempt(
        &self,
        mut upstream: Upstream,
        request: Request<RequestBody>,
        gate: Option<&Gate>,
    ) -> Result<(Response<Incoming>, Lease), Lost> {
        let answer = {
            let sending = pin!(upstream.sender.try_send_request(request));
            self.await_answer(sending, gate).await
        };
        match answer {
            None => Err(Lost::Late),
            Some(Ok(response)) => {
                let pool = Rc::clone(&self.worker.pool);
                let key = self.backend.key.clone();
                Ok((response, Lease { upstream, key, pool, gate: gate.cloned() }))
            }
            Some(Err(mut error)) => {
                if let Some(unsent) = error.take_message() {
                    return Err(Lost::Unsent(Box::new(unsent)));
                }
                let error = error.into_error();
                let why = error_chain(&error);
                Err(if error.is_parse() { Lost::Invalid(why) } else { Lost::Unanswered(why) })
            }
        }
    }

    /// Waits for the answer's head; nothing if that takes too long. Opens the gate when the
    /// service says nothing to `Expect`.
    async fn await_answer<F: Future>(
        &self,
        mut sending: Pin<&mut F>,
        gate: Option<&Gate>,
    ) -> Option<F::Output> {
        let mut patience = gate.map(|_| Box::pin(sleep(self.worker.limits.expect)));
        self.exchange.answer_awaited(true);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            if self.exchange.is_late() {
                return Poll::Ready(None);
            }
            if let Some(sleep) = &mut patience
                && sleep.as_mut().poll(cx).is_ready()
            {
                patience = None;
                gate.into_iter().for_each(Gate::open);
            }
            Poll::Pending
        })
        .await;
        self.exchange.answer_awaited(false);
        answer
    }

    /// The same request once more. It has no body.
    fn copy(&self, request: &Request<RequestBody>) -> Request<RequestBody> {
        let mut copy = Request::new(RequestBody::none(self.exchange));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    }

    async fn finish(
        &self,
        response: Response<Incoming>,
        mut lease: Lease,
        upgrade: Option<HeaderValue>,
    ) -> Response<Body> {
        let (mut parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let agreed = hop::upgrade(&parts.headers);
            let same = upgrade
                .zip(agreed)
                .filter(|(asked, agreed)| asked.as_bytes().eq_ignore_ascii_case(agreed.as_bytes()));
            let Some((_, protocol)) = same else {
                return self.broken("it changed to a protocol that was not asked for");
            };
            let Ok(end) = (&mut lease.upstream.upgraded).await else {
                return self.broken("it closed the connection that it had upgraded");
            };
            *self.exchange.client.tunnel.borrow_mut() = Some(end);
            hop::strip(&mut parts.headers);
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
            return Response::from_parts(parts, Body::empty());
        }
        hop::strip(&mut parts.headers);
        parts.version = Version::HTTP_11;
        Response::from_parts(parts, Body::upstream(incoming, lease))
    }

    fn broken(&self, why: &str) -> Response<Body> {
        self.apologise(&Failure::Broken(why.to_owned()))
    }

    fn apologise(&self, failure: &Failure) -> Response<Body> {
        let backend = &*self.backend;
        let (page, sentence): (_, Option<&dyn Fn(u64) -> String>) = match failure {
            Failure::Absent => (Page::NotUp, Some(&|more| say::absent_service(backend, more))),
            Failure::Crowded => (Page::Crowded, Some(&|more| say::crowded(backend, more))),
            Failure::Late => (Page::TooLate, Some(&|more| say::late_service(backend, more))),
            Failure::Broken(why) => {
                (Page::BadGateway, Some(&|more| say::broken_service(backend, why, more)))
            }
            // The client knows, and nobody else needs to.
            Failure::Client => (Page::BadBody, None),
        };
        if let Some(sentence) = sentence
            && let Some(more) = self.worker.throttle.pass()
        {
            warn!("{}", sentence(more));
        }
        pages::page(page)
    }
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
