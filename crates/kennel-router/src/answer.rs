//! From a request to its answer: check, look up, pass on.
//!
//! The table is looked at anew for each request, so that a kept connection follows a cutover with
//! its next one.

use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::body::Body;
use crate::challenge;
use crate::client::Client;
use crate::exchange::{Exchange, Turn};
use crate::head::{self, Refusal};
use crate::pages::{self, Page};
use crate::proxy;
use crate::table::{Lookup, Target};
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
    let client_end = if is_stream { websocket::translate(&mut parts) } else { None };
    worker.counters.requests.up();
    let mut response = respond(&worker, &turn, parts, incoming).await;
    worker.counters.answered(response.status());
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
    parts: Parts,
    incoming: Incoming,
) -> Response<Body> {
    let client = &exchange.client;
    let asked = head::check(&parts, || client.with_head(head::has_content_length));
    let (method, path) = (&parts.method, parts.uri.path());
    if asked.is_ok()
        && let Some(answer) = challenge::answer(&worker.challenges, method, path).await
    {
        return answer;
    }
    let (target, hsts, authority) = match asked {
        Ok(asked) => {
            let secured = client.secured();
            let found = worker.with_table(|table| {
                match table.lookup(&asked.host, parts.uri.path(), secured) {
                    Lookup::Found(target, used) => {
                        used.now();
                        let hsts = secured.and_then(|_| table.hsts(&asked.host)).cloned();
                        Ok((target.clone(), hsts))
                    }
                    // Forges do not follow with a webhook, and whoever calls the API has not to.
                    Lookup::Redirect(target) if target.is_own() && !parts.method.is_safe() => {
                        Ok((target.clone(), None))
                    }
                    Lookup::Redirect(_) => Err(None),
                    Lookup::Misdirected => Err(Some(Page::Misdirected)),
                    Lookup::NoPath => Err(Some(Page::NoPath)),
                    Lookup::NoHost => Err(Some(Page::UnknownHost)),
                }
            });
            let (target, hsts) = match found {
                Ok(found) => found,
                Err(Some(page)) => return pages::page(page),
                Err(None) => return pages::moved("https", &asked.host, &parts.uri),
            };
            let authority = match parts.headers.get(HOST) {
                Some(host) if parts.uri.authority().is_none() => Ok(host.clone()),
                Some(_) | None => HeaderValue::from_str(asked.authority),
            };
            (target, hsts, authority)
        }
        Err(refusal) => return pages::page(Page::Refused(refusal)),
    };
    let Ok(authority) = authority else { return pages::page(Page::Refused(Refusal::Host)) };
    let mut response = match target {
        Target::Upstream(backend) => {
            proxy::forward(worker, exchange, backend, parts, incoming, &authority).await
        }
        Target::Site(serving) => serving.reply(&parts).await,
        Target::MissingSite => pages::page(Page::MissingSite),
        Target::Elsewhere(elsewhere) => {
            let is_secured = elsewhere.is_secured || client.secured().is_some();
            let scheme = if is_secured { "https" } else { "http" };
            pages::moved(scheme, elsewhere.host.as_str(), &parts.uri)
        }
        Target::Absent => pages::page(Page::NotUp),
    };
    if let Some(hsts) = hsts {
        // What a service says itself stands.
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
    }
    response
}
