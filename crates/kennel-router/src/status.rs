//! The status socket: `GET /status`, `GET /last-use` and `GET /metrics`, over HTTP like everything
//! else.
//!
//! Answered by the control thread. It only reads; who may connect is the socket's mode to say.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use kennel_core::RouterStatus;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tracing::warn;

use crate::counters::{self, Counters, sum};
use crate::say;
use crate::table::Table;

/// What can be asked about.
pub(crate) struct State {
    pub(crate) table: Arc<ArcSwap<Table>>,
    /// Why the last table on disk was refused, if it was.
    pub(crate) refused: RefCell<Option<String>>,
    pub(crate) counters: Vec<Arc<Counters>>,
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

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let (kind, text) = match (method, path) {
            (&Method::GET | &Method::HEAD, "/status") => {
                ("application/json", serde_json::to_string(&self.report()).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/last-use") => {
                let last = self.table.load().last_use();
                ("application/json", serde_json::to_string(&last).unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                let table = self.table.load();
                let text = counters::metrics(&self.counters, table.generation, table.hosts());
                ("text/plain; version=0.0.4; charset=utf-8", text)
            }
            (_, "/status" | "/last-use" | "/metrics") => {
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                return response;
            }
            _ => {
                return plain(StatusCode::NOT_FOUND, "there are /status, /last-use and /metrics\n");
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
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
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = state.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    // Whoever asks may leave at any time.
    let _ended = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(15))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
