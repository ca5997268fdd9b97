//! Visitors: connections that stay busy while something is changed under them.
//!
//! One sixth of them each: GET over a kept connection, GET over a new connection every time, GET over
//! a kept HTTP/2 connection, POST of known length, POST in chunks, and an answer that takes a second.
//! Every answer is compared with what was asked for, and nothing that was sent is ever tried again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::http::Answer;
use crate::netns::Netns;

/// Between two requests of one visitor: the machine has a build to do meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// After this a request counts as failed. The slow ones take one second.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A running load.
#[derive(Debug)]
pub struct Load {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that got an answer or failed.
    pub requests: u64,
    /// Requests that did not get the answer that they should have.
    pub failures: u64,
    /// Why, and how often.
    pub reasons: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub connections: u64,
    /// How many answers each version of the service gave.
    pub versions: BTreeMap<String, u64>,
    /// How many answers each kind of visitor got.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The longest that one of each kind waited for its answer, from before it connected.
    pub slowest: BTreeMap<&'static str, Duration>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicU64,
    report: Mutex<Report>,
}

impl Load {
    /// Starts `connections` visitors of the sample service behind port 80 of a network namespace.
    ///
    /// # Errors
    /// When no thread or runtime can be made.
    pub fn start(netns: Netns, host: &str, connections: usize) -> Result<Self> {
        let seen = Arc::new(Seen::default());
        let (shared, host) = (Arc::clone(&seen), host.to_owned());
        // All sockets are made on this thread, so all of them are the host's.
        let thread = thread::Builder::new().name("visitors".into()).spawn(move || {
            netns.enter().context("cannot enter the host's network")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let visitors: Vec<_> = (0..connections)
                    .map(|number| {
                        let visitor = Visitor::new(number, &host, Arc::clone(&shared));
                        tokio::spawn(visitor.stay())
                    })
                    .collect();
                for visitor in visitors {
                    visitor.await.context("a visitor panicked")?;
                }
                Ok(())
            })
        })?;
        Ok(Self { seen, thread: Some(thread) })
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// What is known so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.seen.report().clone()
    }

    /// Lets every visitor finish its request and reports.
    ///
    /// # Errors
    /// When the visitors themselves broke down.
    pub fn stop(mut self) -> Result<Report> {
        self.seen.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result?,
            Some(Err(_)) | None => bail!("the thread of the visitors panicked"),
        }
        Ok(self.seen.report().clone())
    }
}

impl Drop for Load {
    /// A test that failed must not leave its visitors to the others.
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

impl Report {
    /// That there were requests, and that every one got its answer.
    ///
    /// # Errors
    /// The number of failures, with reasons.
    pub fn expect_clean(&self) -> Result<()> {
        ensure!(self.requests > 0, "not one request was made");
        if self.failures == 0 {
            return Ok(());
        }
        let reasons: Vec<String> =
            self.reasons.iter().map(|(reason, times)| format!("{times} × {reason}")).collect();
        bail!("{} of {} requests failed:\n{}", self.failures, self.requests, reasons.join("\n"));
    }
}

impl Seen {
    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) {
        self.report().connections += 1;
    }

    fn count(&self, kind: Kind, took: Duration, result: Result<String>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut report = self.report();
        report.requests += 1;
        match result {
            Ok(version) => {
                *report.versions.entry(version).or_default() += 1;
                *report.kinds.entry(kind.name()).or_default() += 1;
                let slowest = report.slowest.entry(kind.name()).or_default();
                *slowest = took.max(*slowest);
            }
            Err(err) => {
                report.failures += 1;
                *report.reasons.entry(format!("{}: {err:#}", kind.name())).or_default() += 1;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kept,
    New,
    Streams,
    Post,
    Chunked,
    Slow,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Kept, Self::New, Self::Streams, Self::Post, Self::Chunked, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::Kept => "GET on a kept connection",
            Self::New => "GET on a new connection",
            Self::Streams => "GET over HTTP/2",
            Self::Post => "POST",
            Self::Chunked => "POST in chunks",
            Self::Slow => "slow GET",
        }
    }
}

struct Visitor {
    kind: Kind,
    number: usize,
    host: String,
    seen: Arc<Seen>,
    connection: Option<Connection>,
}

/// What requests are sent over.
enum Connection {
    One(http1::SendRequest<Body>),
    Many(http2::SendRequest<Body>),
}

impl Connection {
    async fn open(kind: Kind) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", 80)).await.context("connect")?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        // A connection's end shows in the request that it breaks off.
        if kind == Kind::Streams {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(async { drop(connection.await) });
            return Ok(Self::Many(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Self::One(sender))
    }

    /// Whether another request can be sent: the other side may have closed it while nothing was
    /// asked.
    async fn is_usable(&mut self) -> bool {
        match self {
            Self::One(sender) => sender.ready().await.is_ok(),
            Self::Many(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Gives the request back with the error, if not a byte of it was sent.
    async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::One(sender) => sender.try_send_request(request).await,
            Self::Many(sender) => sender.try_send_request(request).await,
        }
    }
}

impl Visitor {
    fn new(number: usize, host: &str, seen: Arc<Seen>) -> Self {
        let kind = Kind::ALL.into_iter().cycle().nth(number % Kind::ALL.len());
        Self {
            kind: kind.unwrap_or(Kind::Kept),
            number,
            host: host.to_owned(),
            seen,
            connection: None,
        }
    }

    async fn stay(mut self) {
        for turn in 0.. {
            if self.seen.stop.load(Ordering::Relaxed) {
                return;
            }
            let begun = Instant::now();
            let asked = tokio::time::timeout(ANSWER_LIMIT, self.ask(turn)).await;
            let result = asked.unwrap_or_else(|_| bail!("no answer within {ANSWER_LIMIT:?}"));
            if result.is_err() || self.kind == Kind::New {
                self.connection = None;
            }
            self.seen.count(self.kind, begun.elapsed(), result);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One request and its whole answer, compared; returns the version that gave it.
    async fn ask(&mut self, turn: usize) -> Result<String> {
        let payload = self.payload(turn);
        let (path, body) = match self.kind {
            Kind::Kept | Kind::New | Kind::Streams => {
                ("/version", Full::new(Bytes::new()).boxed_unsync())
            }
            Kind::Slow => ("/slow?ms=1000", Full::new(Bytes::new()).boxed_unsync()),
            Kind::Post => ("/echo", Full::new(payload.clone()).boxed_unsync()),
            Kind::Chunked => ("/echo", chunks(&payload)),
        };
        let method = if path == "/echo" { Method::POST } else { Method::GET };
        let request = Request::builder().method(method);
        let mut request = if self.kind == Kind::Streams {
            let uri = format!("http://{}{path}", self.host);
            request.version(Version::HTTP_2).uri(uri).body(body)?
        } else {
            request.uri(path).header("host", &self.host).body(body)?
        };
        let (response, how) = loop {
            let (connection, is_reused) = self.connection().await?;
            let how = if is_reused { "on a reused connection" } else { "on a fresh connection" };
            match connection.send(request).await {
                Ok(response) => break (response, how),
                Err(mut error) => match error.take_message().filter(|_| is_reused) {
                    // It was told to go just now.
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error()).with_context(|| format!("sent {how}")),
                },
            }
            self.connection = None;
        };
        let answer = Answer::whole(response).await.with_context(|| format!("answer {how}"))?;
        ensure!(answer.status == 200, "status {} {how}: {}", answer.status, answer.text().trim());
        let version =
            answer.header("sample-version").context("not the sample's answer")?.to_owned();
        match self.kind {
            Kind::Kept | Kind::New | Kind::Streams => {
                ensure!(
                    answer.text() == format!("{version}\n"),
                    "a mixed answer: {}",
                    answer.text()
                );
            }
            Kind::Slow => ensure!(answer.text() == "begun, done\n", "cut off: {}", answer.text()),
            Kind::Post | Kind::Chunked => {
                ensure!(answer.body == payload, "other bytes came back than were sent");
            }
        }
        Ok(version)
    }

    /// The kept connection, or a new one when there is none that can be used; and whether it was
    /// kept.
    async fn connection(&mut self) -> Result<(&mut Connection, bool)> {
        let is_usable = match &mut self.connection {
            Some(connection) => connection.is_usable().await,
            None => false,
        };
        if !is_usable {
            self.connection = Some(Connection::open(self.kind).await?);
            self.seen.opened();
        }
        Ok((self.connection.as_mut().context("no connection")?, is_usable))
    }

    /// From nothing to 64 KiB, different for every visitor and turn.
    fn payload(&self, turn: usize) -> Bytes {
        if !matches!(self.kind, Kind::Post | Kind::Chunked) {
            return Bytes::new();
        }
        let mut state = (self.number as u64 + 1) << 32 | turn as u64;
        // splitmix64, a few times.
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let words = next() % (8 * 1024);
        (0..words).flat_map(|_| next().to_le_bytes()).collect()
    }
}

/// A body of unknown length in pieces of 10,000 bytes.
fn chunks(payload: &Bytes) -> Body {
    let pieces: Vec<Bytes> = payload.chunks(10_000).map(Bytes::copy_from_slice).collect();
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
    StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
}
