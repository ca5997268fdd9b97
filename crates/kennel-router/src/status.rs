//! The status socket: `GET /status`, `/health`, `/last-use`, `/in-use`, `/traffic` and `/metrics`, over
//! HTTP like everything else.
//!
//! Answered by the control thread. It changes nothing but one thing: `POST /rest/<deployment>` lets
//! requests for an unused service wait for a moment, in which it is stopped. Who may connect is the
//! socket's mode to say.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use kennel_core::{DeploymentId, RouterStatus, RouterTraffic, Timestamp};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tracing::warn;

use crate::counters::{self, Counters, sum};
use crate::health::Monitor;
use crate::journal::Journal;
use crate::metrics;
use crate::process::Process;
use crate::say;
use crate::table::Table;
use crate::traffic::BOUNDS_US;

/// What can be asked about.
pub(crate) struct State {
    pub(crate) table: Arc<ArcSwap<Table>>,
    /// Why the last table on disk was refused, if it was.
    pub(crate) refused: RefCell<Option<String>>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) monitor: Rc<Monitor>,
    pub(crate) started: Started,
}

/// When the router started, by the clock on the wall and by one that nobody sets.
pub(crate) struct Started {
    at: Timestamp,
    instant: Instant,
}

impl Started {
    pub(crate) fn now() -> Self {
        Self { at: Timestamp::from(SystemTime::now()), instant: Instant::now() }
    }
}

impl State {
    /// The line for `STATUS=`.
    pub(crate) fn line(&self) -> String {
        let table = self.table.load();
        say::status(table.generation, table.hosts(), self.refused.borrow().as_deref())
    }

    /// Connections open to clients.
    pub(crate) fn open(&self) -> u64 {
        sum(&self.counters, |counters| &counters.connections_open)
    }

    fn report(&self) -> RouterStatus {
        let table = self.table.load();
        RouterStatus {
            generation: table.generation,
            loaded_at: table.loaded_at,
            hosts: table.hosts(),
            refused: self.refused.borrow().clone(),
            connections: self.open(),
            requests: sum(&self.counters, |counters| &counters.requests),
        }
    }

    fn traffic(&self) -> RouterTraffic {
        let table = self.table.load();
        let healths = table.healths();
        let routes = table.traffic().filter_map(|(output, traffic)| {
            let healthy = healths.get(output).copied();
            let is_shown = traffic.is_used() || healthy == Some(false);
            is_shown.then(|| traffic.report(output, healthy))
        });
        RouterTraffic {
            started_at: self.started.at,
            running_us: u64::try_from(self.started.instant.elapsed().as_micros())
                .unwrap_or(u64::MAX),
            bounds_us: BOUNDS_US.to_vec(),
            routes: routes.collect(),
        }
    }

    fn metrics(&self) -> String {
        let table = self.table.load();
        let mut text = counters::metrics(&self.counters, table.generation, table.hosts());
        text.push_str(&self.journal.metrics());
        metrics::of_routes(&mut text, &table);
        metrics::of_process(&mut text, &Process::look(), self.started.at);
        text
    }

    fn answer(&self, method: &Method, path: &str, asker: Asker) -> Response<Full<Bytes>> {
        let (kind, text) = match (method, path) {
            (&Method::GET | &Method::HEAD, "/status") => {
                ("application/json", serde_json::to_string(&self.report()).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/health") => {
                let health = self.monitor.report();
                ("application/json", serde_json::to_string(&health).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/last-use") => {
                let last = self.table.load().last_use();
                ("application/json", serde_json::to_string(&last).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/in-use") => {
                let in_use = self.table.load().in_use(self.started.at);
                ("application/json", serde_json::to_string(&in_use).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/traffic") => {
                ("application/json", serde_json::to_string(&self.traffic()).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                ("text/plain; version=0.0.4; charset=utf-8", self.metrics())
            }
            (&Method::POST, path) if path.starts_with(REST) => {
                return match asker {
                    Asker::StopsServices => self.rest(path),
                    Asker::Looks => plain(StatusCode::FORBIDDEN, "only root stops services\n"),
                };
            }
            (_, "/status" | "/health" | "/last-use" | "/in-use" | "/traffic" | "/metrics") => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                return response;
            }
            _ => {
                let known =
                    "there are /status, /health, /last-use, /in-use, /traffic and /metrics\n";
                return plain(StatusCode::NOT_FOUND, known);
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// Who asks. The socket is open to more programs than may change anything.
#[derive(Clone, Copy)]
enum Asker {
    /// Root, as kennel-deploy is, and whoever runs this program.
    StopsServices,
    Looks,
}

impl Asker {
    fn of(stream: &UnixStream) -> Self {
        let own = rustix::process::geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if [0, own].contains(&peer.uid()) => Self::StopsServices,
            Ok(_) | Err(_) => Self::Looks,
        }
    }
}

/// `/rest/<deployment>`: nobody is sent to it for a while, since it is about to be stopped.
/// `/rest/<deployment>/end`: it has been.
const REST: &str = "/rest/";

/// The longest rest. Longer than `TimeoutStopSec=` of services; who stops one may be killed.
const LONGEST_REST: Duration = Duration::from_secs(15);

impl State {
    /// Lets a deployment rest, or ends that. Refused while somebody uses it.
    fn rest(&self, path: &str) -> Response<Full<Bytes>> {
        let of = path.strip_prefix(REST).unwrap_or_default();
        let (id, ends) = of.strip_suffix("/end").map_or((of, false), |id| (id, true));
        let table = self.table.load();
        let id = id.parse::<DeploymentId>().ok();
        match id.and_then(|id| table.watch_of(id)) {
            None => plain(StatusCode::NOT_FOUND, "it is not counted\n"),
            Some(watch) if ends => {
                watch.end_rest();
                plain(StatusCode::OK, "it is asked again\n")
            }
            Some(watch) if watch.rest(LONGEST_REST) => plain(StatusCode::OK, "it rests\n"),
            Some(_) => plain(StatusCode::CONFLICT, "it is in use\n"),
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Serves the socket for ever.
pub(crate) async fn serve(state: Rc<State>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                spawn_local(answer_all(Rc::clone(&state), stream));
            }
            Err(error) => {
                warn!("{}", say::accept_failed(&error));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer_all(state: Rc<State>, stream: UnixStream) {
    let asker = Asker::of(&stream);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = state.answer(request.method(), request.uri().path(), asker);
        async move { Ok::<_, Infallible>(response) }
    });
    // Whoever asks may leave at any time.
    let _ended = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(15))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
