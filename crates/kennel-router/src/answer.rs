//! From a request to its answer: check, look up, pass on.
//!
//! The table is looked at anew for each request, so that a kept connection follows a cutover with
//! its next one.

use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::body::Body;
use crate::challenge;
use crate::client::Client;
use crate::exchange::{Exchange, Turn};
use crate::grpc;
use crate::guard::{Guard, Passage};
use crate::head::{self, Refusal};
use crate::held;
use crate::notes::Notes;
use crate::pages::{self, Page};
use crate::proxy;
use crate::table::{Lookup, Target};
use crate::upstream::BackendKey;
use crate::websocket;
use crate::worker::Worker;

/// Answers one request. It has begun when this returns, and not only when the answer is waited for:
/// an HTTP/2 connection makes a task of it that has to know whose it is.
pub(crate) fn answer(
    worker: Rc<Worker>,
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    let turn = client.begin(!request.body().is_end_stream());
    take(worker, turn, request)
}

async fn take(
    worker: Rc<Worker>,
    turn: Turn,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (mut parts, incoming) = request.into_parts();
    let is_stream = parts.version == Version::HTTP_2;
    let is_head = parts.method == Method::HEAD;
    let version = parts.version;
    let client_end = if is_stream { websocket::translate(&mut parts) } else { None };
    let is_call = grpc::is_call(&parts);
    worker.counters.requests.up();
    let noting = worker.with_table(|table| {
        table.rules.recognise(&turn, &parts);
        table.rules.noting
    });
    if let Some(noting) = noting {
        let is_trusted = turn.is_vouched_for();
        turn.note(Notes::begin(noting, version, &mut parts, is_trusted, &worker.journal));
    }
    let mut response = respond(&worker, &turn, parts, incoming).await;
    let status = response.status();
    worker.counters.answered(status);
    if let Some(visit) = turn.visit() {
        visit.answered(status);
    }
    if let Some(notes) = turn.notes() {
        notes.tell(status, response.headers_mut());
    }
    if is_call && !response.body().is_of_service() {
        response = grpc::instead_of(&response);
    }
    if is_stream {
        if let Some(client_end) = client_end {
            // Put there by nobody else: between that and here nothing is waited for.
            let agreed = turn.client.tunnel.take();
            if let Some(service) = agreed {
                return Ok(websocket::agree(&worker, turn, client_end, service, response));
            }
            response = websocket::declined(response);
        } else if is_head {
            response = without_body(response);
        }
    } else if worker.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| body.during(turn)))
}

/// The answer to HEAD, as hyper makes it for HTTP/1 itself.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact().filter(|_| !response.body().is_end_stream());
    if let Some(length) = length {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    response.map(|_body| Body::empty())
}

async fn respond(
    worker: &Rc<Worker>,
    exchange: &Rc<Exchange>,
    mut parts: Parts,
    mut incoming: Incoming,
) -> Response<Body> {
    let client = &exchange.client;
    let asked = client.with_head(|raw| head::check(&parts, raw));
    let (method, path) = (&parts.method, parts.uri.path());
    if asked.is_ok()
        && let Some(answer) = challenge::answer(&worker.challenges, method, path).await
    {
        return answer;
    }
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return pages::page(Page::Refused(refusal)),
    };
    let authority = match parts.headers.get(HOST) {
        Some(host) if parts.uri.authority().is_none() => Ok(host.clone()),
        Some(_) | None => HeaderValue::from_str(asked.authority),
    };
    let Ok(authority) = authority else { return pages::page(Page::Refused(Refusal::Host)) };
    let mut found = find(worker, exchange, &asked.host, &parts, Look::First);
    let mut host = asked.host;
    if let Ok(Found::Guarded(guard, hsts)) = found {
        // In a box: what most requests do not need is no part of each. Before a service that sleeps is
        // woken.
        host = Cow::Owned(host.into_owned());
        match Box::pin(guard.pass(worker, exchange, &mut parts, incoming)).await {
            Passage::In(body) => incoming = body,
            Passage::Out(answer) => return with_hsts(answer, hsts),
        }
        found = find(worker, exchange, &host, &parts, Look::LetIn);
    }
    if let Ok(Found::To(Target::Held(deployment, watch), _)) = found {
        let look = || match find(worker, exchange, &host, &parts, Look::LetIn) {
            Ok(Found::To(Target::Held(..), _)) => None,
            found => Some(found),
        };
        found = held::wait(worker, (deployment, watch), look)
            .await
            .unwrap_or_else(|page| Err(Some(page)));
    }
    let (target, hsts) = match found {
        Ok(Found::To(target, hsts)) => (target, hsts),
        // Nobody is asked twice.
        Ok(Found::Guarded(..)) => return pages::page(Page::NotUp),
        Err(Some(page)) => {
            if let Page::TooManyRequests(_) = page {
                worker.counters.requests_limited.up();
            }
            return pages::page(page);
        }
        Err(None) => return pages::moved("https", &host, &parts.uri),
    };
    let response = match target {
        Target::Upstream(backend) if backend.is_out() => pages::page(Page::Unhealthy),
        Target::Upstream(backend) => {
            proxy::forward(worker, exchange, backend, parts, incoming, &authority).await
        }
        // It was waited for its end.
        Target::Held(..) => pages::page(Page::NotUp),
        Target::Site(serving) => serving.reply(&parts).await,
        Target::MissingSite => pages::page(Page::MissingSite),
        Target::Elsewhere(elsewhere) => {
            let is_secured = elsewhere.is_secured || exchange.is_secured();
            let scheme = if is_secured { "https" } else { "http" };
            pages::moved(scheme, elsewhere.host.as_str(), &parts.uri)
        }
        Target::Absent => pages::page(Page::NotUp),
    };
    with_hsts(response, hsts)
}

fn with_hsts(mut response: Response<Body>, hsts: Option<HeaderValue>) -> Response<Body> {
    if let Some(hsts) = hsts {
        // What a service says itself stands.
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    response
}

/// Whether a request is looked at for the first time, or has been let in already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    LetIn,
}

/// Where a request goes, with `Strict-Transport-Security`.
enum Found {
    To(Target, Option<HeaderValue>),
    /// There is somebody at the door.
    Guarded(Arc<Guard>, Option<HeaderValue>),
}

/// What the table says now, with what browsers are told beside it; else a page, or that the same is
/// there under HTTPS. A new request is one more of its client's; one that waits was counted.
fn find(
    worker: &Worker,
    exchange: &Exchange,
    host: &str,
    parts: &Parts,
    look: Look,
) -> Result<Found, Option<Page>> {
    let came = exchange.came();
    worker.with_table(|table| {
        let looked = table.lookup(host, parts.uri.path(), &came);
        if look == Look::First {
            if let Lookup::Found(route) = &looked {
                // Who is refused is counted as well.
                let share = route.traffic.as_ref().and_then(|it| it.share(worker.index));
                share.into_iter().for_each(|share| exchange.visits(share));
            }
            table.admit(&looked, exchange)?;
        }
        match looked {
            Lookup::Found(route) => {
                if let Some(notes) = exchange.notes() {
                    notes.is_for(|| route.noted());
                }
                if look == Look::First
                    && let Some(guard) = &route.guard
                {
                    let hsts = table.hsts(host, &came).cloned();
                    return Ok(Found::Guarded(Arc::clone(guard), hsts));
                }
                route.used.now();
                if let Target::Upstream(backend) = &route.target
                    && let Some(watch) = &backend.watch
                {
                    match (watch.enter(), &backend.key) {
                        (Some(in_use), _) => exchange.counts_as(in_use),
                        (None, BackendKey::Deployment(deployment)) => {
                            let held = Target::Held(*deployment, Arc::clone(watch));
                            return Ok(Found::To(held, None));
                        }
                        // Only deployments are counted.
                        (None, BackendKey::Socket(_)) => {}
                    }
                }
                Ok(Found::To(route.target.clone(), table.hsts(host, &came).cloned()))
            }
            // Forges do not follow with a webhook, and whoever calls the API has not to.
            Lookup::Redirect(target) if target.is_own() && !parts.method.is_safe() => {
                Ok(Found::To(target.clone(), None))
            }
            Lookup::Redirect(_) => Err(None),
            Lookup::Misdirected => Err(Some(Page::Misdirected)),
            Lookup::NoPath => Err(Some(Page::NoPath)),
            Lookup::NoHost => Err(Some(Page::UnknownHost)),
        }
    })
}
