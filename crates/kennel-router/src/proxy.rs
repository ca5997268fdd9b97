//! A request passed to a service, and its answer passed back.
//!
//! Bodies are streams both ways and never held. A request is sent a second time only when that
//! cannot do anything twice: it was not sent, or it is idempotent, has no body, and a kept
//! connection died before the answer began. Everything that is waited for has an end.

mod direct;
mod h2c;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::response::Parts as Answer;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use kennel_core::{Protocol, error_chain};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::framing;
use crate::grpc;
use crate::head;
use crate::hop;
use crate::notes::Notes;
use crate::pages::{self, Page};
use crate::pool::{Kept, Lease};
use crate::request_body::{Gate, RequestBody};
use crate::say;
use crate::table::{Lookup, Route, Target};
use crate::tunnel::{ServiceEnd, ServiceIo};
use crate::upstream::{Backend, ConnectError, Place, Stream, Upstream};
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
    exchange.is_answered_by(backend.deployment());
    if grpc::is_call(&parts) {
        // How long it may take is for its client to say, which does (`grpc-timeout`).
        exchange.lasts();
    }
    let mut passing = Passing { worker, exchange, backend, moves: 0 };
    let backend = &passing.backend;
    if hyper::body::Body::size_hint(&incoming).lower() > backend.bounds.body {
        return passing.apologise(&Failure::TooLong);
    }
    let Some(underway) = backend.load.begin(backend.bounds.requests) else {
        return passing.apologise(&Failure::Full);
    };
    exchange.enters_service(underway);
    match backend.protocol {
        Protocol::Http1 if direct::is_plain(&parts, &incoming) => {
            return match passing.send_directly(parts, authority).await {
                Ok(response) => response,
                Err(failure) => passing.apologise(&failure),
            };
        }
        Protocol::Http1 => {}
        Protocol::H2c => return h2c::forward(passing, parts, incoming, authority).await,
    }
    let mut outgoing = prepare(exchange, backend, parts, incoming, authority);
    let upgrade = outgoing.upgrade.clone();
    loop {
        let Failed { failure, again } = match passing.send(outgoing).await {
            Ok((response, kept)) => return passing.finish(response, kept, upgrade).await,
            Err(failed) => failed,
        };
        let Some(again) = again else { return passing.apologise(&failure) };
        outgoing = *again;
        let request = &outgoing.request;
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if !passing.follow(host.unwrap_or_default(), request.uri().path()) {
            return passing.apologise(&failure);
        }
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
    let mut body = RequestBody::new(incoming, backend.bounds.body, exchange);
    let has_body = !hyper::body::Body::is_end_stream(&body);
    // In HTTP/2 a body ends by itself, and mostly nobody says how long it will be.
    let is_stream = parts.version == Version::HTTP_2;
    let chunked = parts.headers.contains_key(TRANSFER_ENCODING)
        || (is_stream && has_body && !parts.headers.contains_key(CONTENT_LENGTH));
    let is_http_11 = parts.version == Version::HTTP_11;
    let upgrade = hop::upgrade(&parts.headers).filter(|_| is_http_11 && !has_body);

    tell(exchange, backend, &mut parts, authority);
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

/// Makes of a head what services are told, whatever they speak.
fn tell(exchange: &Exchange, backend: &Backend, parts: &mut Parts, authority: &HeaderValue) {
    hop::strip(&mut parts.headers);
    exchange.peer().tell(&mut parts.headers, authority);
    join_cookies(&mut parts.headers);
    if parts.uri.authority().is_some() {
        parts.headers.insert(HOST, authority.clone());
        parts.uri = parts.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    }
    if let Some(prefix) = &backend.prefix {
        prefix.strip(parts);
    }
}

/// RFC 9113 §8.2.3: HTTP/2 may send each cookie in a field of its own, and HTTP/1 must not.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
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
    /// The service has as many requests as it takes.
    Full,
    /// It takes too long.
    Late,
    /// What came was no answer.
    Broken(String),
    /// It has no WebSockets.
    NoWebSocket,
    /// The client's own body broke.
    Client,
    /// The client's body is longer than the service takes.
    TooLong,
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
    /// How often it has turned to another.
    moves: u32,
}

/// How many deployments may take over from each other while one request waits.
const MOVES: u32 = 3;

/// A request that brought no answer, and what of it can be sent again without doing anything twice.
struct Failed {
    failure: Failure,
    again: Option<Box<Outgoing>>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, again: None }
    }
}

impl Passing<'_> {
    /// Turns to whom the table leads to by now for this host and path: another deployment may have
    /// taken over since the request came, and the one before be gone. Says whether there is one.
    fn follow(&mut self, host: &str, path: &str) -> bool {
        let Self { worker, exchange, backend, moves } = self;
        let whole = backend.prefix.as_ref().map(|prefix| prefix.before(path));
        let path = whole.as_deref().unwrap_or(path);
        let Some(host) = head::name_of(host) else { return false };
        let found = worker.with_table(|table| match table.lookup(&host, path, &exchange.came()) {
            Lookup::Found(Route { target: Target::Upstream(other), .. }) => Some(Arc::clone(other)),
            _ => None,
        });
        let other = found.filter(|other| {
            let is_alike = other.prefix == backend.prefix && other.protocol == backend.protocol;
            is_alike && other.key != backend.key && *moves < MOVES
        });
        let Some(other) = other else { return false };
        let Some(underway) = other.load.begin(other.bounds.requests) else { return false };
        exchange.enters_service(underway);
        *moves += 1;
        worker.counters.upstream_retries.up();
        exchange.is_answered_by(other.deployment());
        *backend = other;
        true
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(Response<Incoming>, Kept), Failed> {
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
                None => match self.connect(age).await {
                    Ok(connected) => connected,
                    Err(failure) => {
                        let again = Some(Box::new(Outgoing { request, upgrade, gate }));
                        return Err(Failed { failure, again });
                    }
                },
            };
            if reused {
                counters.upstream_reuses.up();
            } else {
                connects += 1;
            }
            let spare = repeatable.then(|| self.copy(&request));
            match self.attempt(upstream, request, gate.as_ref()).await {
                Ok(answered) => return Ok(answered),
                Err(_) if self.exchange.is_body_too_long() => return Err(Failure::TooLong.into()),
                Err(_) if self.exchange.is_body_broken() => return Err(Failure::Client.into()),
                Err(Lost::Late) => return Err(Failure::Late.into()),
                Err(Lost::Invalid(why)) => return Err(Failure::Broken(why).into()),
                Err(Lost::Unsent(unsent)) if reused || connects < 2 => request = *unsent,
                Err(Lost::Unsent(_)) => {
                    return Err(Failure::Broken("it closes connections at once".into()).into());
                }
                Err(Lost::Unanswered(why)) => match spare {
                    Some(spare) if reused => request = spare,
                    spare => {
                        let failure = Failure::Broken(why);
                        let again = spare.map(|request| Outgoing { request, upgrade, gate });
                        return Err(Failed { failure, again: again.map(Box::new) });
                    }
                },
            }
            counters.upstream_retries.up();
        }
    }

    /// Connects; one more attempt when nobody listens, for the moment between two listeners. Who has
    /// to wait for that may get a connection of at most this `age` which has become free meanwhile:
    /// then it is true that it was used before.
    async fn connect(&self, age: Option<Duration>) -> Result<(Upstream, bool), Failure> {
        let Worker { pool, limits, .. } = &**self.worker;
        let _waits = match (&self.backend.bell, &self.backend.watch) {
            // It may have to be woken, and who waits for that is counted.
            (Some(_), Some(watch)) => Some(watch.place().ok_or(Failure::Crowded)?),
            _ => None,
        };
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
        let begun = Upstream::begin(self.stream().await?).await;
        begun
            .map(|upstream| (upstream, false))
            .map_err(|error| Failure::Broken(error_chain(&error)))
    }

    /// Connects; one more attempt when nobody listens.
    async fn stream(&self) -> Result<Stream, Failure> {
        let Worker { pool, directs, trunks, limits, counters, places, shares, .. } = &**self.worker;
        let place = || async {
            if places.available_permits() == 0 {
                // Idle ones hold the places of those that are needed.
                pool.sweep(Instant::now(), Duration::ZERO);
                directs.sweep(Instant::now(), Duration::ZERO);
                trunks.sweep(Instant::now(), Some(Duration::ZERO));
            }
            let of_service = shares.take(&self.backend.key).or_else(|| {
                // The same, within the service's share.
                pool.sweep(Instant::now(), Duration::ZERO);
                directs.sweep(Instant::now(), Duration::ZERO);
                shares.take(&self.backend.key)
            });
            let acquired = timeout(limits.connect, Arc::clone(places).acquire_owned()).await;
            let of_all = acquired.ok().and_then(Result::ok);
            let (Some(_of_all), Some(_of_service)) = (of_all, of_service) else {
                return Err(Failure::Crowded);
            };
            Ok(Place { _of_all, _of_service })
        };
        let mut connected = Stream::to(&self.backend, place().await?, limits).await;
        if let (Err(ConnectError::Refused(_)), Some(bell)) = (&connected, &self.backend.bell) {
            let mut waking = bell.waking(limits.held).await.ok_or(Failure::Late)?;
            loop {
                // Who was first in the line has woken it.
                connected = Stream::to(&self.backend, place().await?, limits).await;
                let is_refused = matches!(connected, Err(ConnectError::Refused(_)));
                if !is_refused || !waking.goes_on().await {
                    break;
                }
            }
        } else if let Err(ConnectError::Refused(_)) = connected {
            connected = Stream::to(&self.backend, place().await?, limits).await;
        }
        counters.upstream_connects.up();
        connected.map_err(|error| match error {
            ConnectError::Refused(_) => Failure::Absent,
            ConnectError::Late => Failure::Late,
            ConnectError::Io(_) | ConnectError::Begin(_) | ConnectError::NotHttp2(_) => {
                Failure::Broken(error_chain(&error))
            }
        })
    }

    async fn attempt(
        &self,
        mut upstream: Upstream,
        request: Request<RequestBody>,
        gate: Option<&Gate>,
    ) -> Result<(Response<Incoming>, Kept), Lost> {
        let answer = {
            let sending = pin!(upstream.sender.try_send_request(request));
            self.await_answer(sending, gate).await
        };
        match answer {
            None => Err(Lost::Late),
            Some(Ok(response)) => {
                self.exchange.notes().into_iter().for_each(Notes::answered);
                let pool = Rc::clone(&self.worker.pool);
                let key = self.backend.key.clone();
                Ok((response, Kept { upstream, key, pool, gate: gate.cloned() }))
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
        mut kept: Kept,
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
            let Ok(end) = (&mut kept.upstream.upgraded).await else {
                return self.broken("it closed the connection that it had upgraded");
            };
            // It may be open for days, and many of them are no burden.
            self.exchange.leaves_service();
            let mut io = end.io.into_inner();
            if let Some(visit) = self.exchange.visit() {
                // A stream's request lasts as long as its tunnel.
                io.becomes_tunnel(visit.tunnelled(self.exchange.client.is_multiplexed()));
            }
            io.counts_as_tunnel(self.exchange.take_count());
            *self.exchange.client.tunnel.borrow_mut() = Some(ServiceEnd {
                io: ServiceIo::Connection(io),
                said: end.read_buf,
                deployment: self.backend.deployment(),
                is_websocket: protocol.as_bytes().eq_ignore_ascii_case(b"websocket"),
            });
            hop::strip(&mut parts.headers);
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
            return Response::from_parts(parts, Body::empty());
        }
        if framing::has_excess(parts.status, &parts.headers) {
            // It goes with its connection, so that it answers nobody else.
            return match framing::settle(&mut parts) {
                Ok(()) => {
                    hop::strip(&mut parts.headers);
                    Response::from_parts(parts, Body::empty())
                }
                Err(doubt) => self.broken(&doubt.to_string()),
            };
        }
        self.pass_back(parts, incoming, Lease::Connection(kept))
    }

    fn pass_back(&self, mut parts: Answer, incoming: Incoming, lease: Lease) -> Response<Body> {
        if let Err(doubt) = framing::settle(&mut parts) {
            return self.broken(&doubt.to_string());
        }
        hop::strip(&mut parts.headers);
        parts.version = Version::HTTP_11;
        if is_endless(&parts.headers) {
            self.exchange.is_endless();
        }
        Response::from_parts(parts, Body::upstream(incoming, lease))
    }

    fn broken(&self, why: &str) -> Response<Body> {
        self.apologise(&Failure::Broken(why.to_owned()))
    }

    fn apologise(&self, failure: &Failure) -> Response<Body> {
        let backend = &*self.backend;
        if let Failure::Absent = failure {
            backend.refused();
        }
        let (page, sentence): (_, Option<&dyn Fn(u64) -> String>) = match failure {
            Failure::Absent => (Page::NotUp, Some(&|more| say::absent_service(backend, more))),
            Failure::Crowded => (Page::Crowded, Some(&|more| say::crowded(backend, more))),
            Failure::Full => (Page::Crowded, Some(&|more| say::full_service(backend, more))),
            Failure::Late => (Page::TooLate, Some(&|more| say::late_service(backend, more))),
            Failure::Broken(why) => {
                (Page::BadGateway, Some(&|more| say::broken_service(backend, why, more)))
            }
            Failure::NoWebSocket => (Page::NoWebSocket, None),
            // The client knows, and nobody else needs to.
            Failure::Client => (Page::BadBody, None),
            Failure::TooLong => (Page::BodyTooLong, None),
        };
        if let Some(sentence) = sentence
            && let Some(more) = self.worker.throttle.pass()
        {
            warn!("{}", sentence(more));
        }
        pages::page(page)
    }
}

/// Whether an answer is a stream of events (HTML, "Server-sent events"), which browsers ask for anew
/// when it breaks off.
fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
