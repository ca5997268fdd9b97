//! A request passed on as a stream of HTTP/2, to a service that speaks it (`protocol = "h2c"`).
//!
//! What a service refuses without having looked at it (RFC 9113 §8.7), or leaves behind when it says
//! goodbye (GOAWAY), is sent again whatever it is, if its body can be. gRPC needs nothing more.

use std::pin::pin;
use std::rc::Rc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, EXPECT, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{self, Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use kennel_core::error_chain;
use tokio::time::timeout;

use super::{Failure, Passing, is_idempotent, tell};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::hop;
use crate::notes::Notes;
use crate::pool::Lease;
use crate::repeatable::{Attempt, Repeatable};
use crate::request_body::RequestBody;
use crate::trunk::Slot;
use crate::tunnel::{ServiceEnd, ServiceIo};
use crate::upstream::{Backend, ConnectError};
use crate::worker::Worker;

/// How often one request is sent at most.
const ATTEMPTS: u32 = 3;

/// Passes a request on. `authority` is the checked host as the client wrote it.
pub(super) async fn forward(
    mut passing: Passing<'_>,
    parts: Parts,
    incoming: Incoming,
    authority: &HeaderValue,
) -> Response<Body> {
    let (exchange, backend) = (passing.exchange, &passing.backend);
    let (head, body, websocket) = prepare(exchange, backend, parts, incoming, authority);
    loop {
        let (failure, again) = match passing.send_stream(&head, &body, websocket.is_some()).await {
            Ok((response, slot)) => {
                body.settle();
                return passing.finish_stream(response, slot, websocket).await;
            }
            Err(lost) => lost,
        };
        let host = head.uri.authority().map_or("", Authority::as_str);
        if !again || !passing.follow(host, head.uri.path()) {
            return passing.apologise(&failure);
        }
    }
}

/// A WebSocket that a client wants, with its key (RFC 6455 §4.1).
struct WebSocket {
    key: HeaderValue,
}

fn prepare(
    exchange: &Rc<Exchange>,
    backend: &Backend,
    mut parts: Parts,
    incoming: Incoming,
    authority: &HeaderValue,
) -> (Parts, Repeatable, Option<WebSocket>) {
    let body = RequestBody::new(incoming, backend.bounds.body, exchange).with_trailers();
    let body = Repeatable::new(body);
    let is_upgrade = parts.version == Version::HTTP_11
        && body.is_empty()
        && hop::upgrade(&parts.headers)
            .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let takes_trailers = hop::takes_trailers(&parts.headers);
    tell(exchange, backend, &mut parts, authority);
    // The pseudo-fields say it.
    parts.headers.remove(HOST);
    // RFC 9110 §10.1.1: the body is sent as it comes, and its coming is asked for.
    parts.headers.remove(EXPECT);
    if takes_trailers {
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let websocket = if is_upgrade { parts.headers.remove(SEC_WEBSOCKET_KEY) } else { None };
    if websocket.is_some() {
        parts.method = Method::CONNECT;
        parts.extensions.insert(Protocol::from_static("websocket"));
    }
    parts.uri = target(&parts.uri, authority);
    parts.version = Version::HTTP_2;
    (parts, body, websocket.map(|key| WebSocket { key }))
}

/// The target with what HTTP/2 has in it besides: the scheme is that of this connection.
fn target(uri: &Uri, authority: &HeaderValue) -> Uri {
    let mut target = uri::Parts::default();
    target.scheme = Some(Scheme::HTTP);
    let authority = Authority::try_from(authority.as_bytes());
    // HTTP/1.0 may name none.
    target.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
    let path = uri.path_and_query().cloned();
    target.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(target).unwrap_or_default()
}

/// Why one attempt brought no answer.
enum Lost {
    /// The service has not looked at it.
    Unprocessed(String),
    /// The connection ended before the answer.
    Unanswered(String),
    /// The service ended the stream, or what came was no answer.
    Invalid(String),
}

impl Passing<'_> {
    /// Sends it. A failure comes with whether somebody else may be asked, without anything being done
    /// twice.
    async fn send_stream(
        &self,
        head: &Parts,
        body: &Repeatable,
        is_websocket: bool,
    ) -> Result<(Response<Incoming>, Slot), (Failure, bool)> {
        let counters = &self.worker.counters;
        let is_repeatable = is_idempotent(&head.method) && body.is_empty();
        let mut attempts = 0;
        let mut repeated = false;
        loop {
            let (slot, reused) = self.slot().await.map_err(|failure| (failure, true))?;
            if reused {
                counters.upstream_reuses.up();
            }
            if is_websocket && !slot.takes_websockets() {
                return Err((Failure::NoWebSocket, false));
            }
            attempts += 1;
            let Some(attempt) = body.attempt() else {
                let why = "it refused a request whose body had been sent";
                return Err((Failure::Broken(why.into()), false));
            };
            let answer = {
                let sending = pin!(slot.send(copy(head, attempt)));
                self.await_answer(sending, None).await
            };
            let error = match answer {
                None => return Err((Failure::Late, false)),
                Some(Ok(response)) => {
                    self.exchange.notes().into_iter().for_each(Notes::answered);
                    return Ok((response, slot));
                }
                Some(Err(error)) => error,
            };
            if self.exchange.is_body_too_long() {
                return Err((Failure::TooLong, false));
            }
            if self.exchange.is_body_broken() {
                return Err((Failure::Client, false));
            }
            match sorted(error) {
                Lost::Unprocessed(_) if attempts < ATTEMPTS => {}
                Lost::Unanswered(_) if reused && is_repeatable && !repeated => repeated = true,
                Lost::Unprocessed(why) => return Err((Failure::Broken(why), true)),
                Lost::Unanswered(why) => return Err((Failure::Broken(why), is_repeatable)),
                Lost::Invalid(why) => return Err((Failure::Broken(why), false)),
            }
            // It has said goodbye, is gone, or is full.
            slot.leave();
            counters.upstream_retries.up();
        }
    }

    /// A place for one stream, and whether it is on a connection that was there before.
    async fn slot(&self) -> Result<(Slot, bool), Failure> {
        let Worker { trunks, limits, .. } = &**self.worker;
        let line = trunks.line(&self.backend.key);
        if let Some(slot) = line.take() {
            return Ok((slot, true));
        }
        // Closed by nobody, so that an error is that it took too long.
        let Ok(Ok(_at_the_door)) = timeout(limits.first_byte, line.door.acquire()).await else {
            return Err(Failure::Late);
        };
        if let Some(slot) = line.take() {
            return Ok((slot, true));
        }
        let stream = self.stream().await?;
        match line.begin(stream, limits).await {
            Ok(slot) => Ok((slot, false)),
            Err(ConnectError::Late) => Err(Failure::Late),
            Err(error) => Err(Failure::Broken(error_chain(&error))),
        }
    }

    async fn finish_stream(
        &self,
        mut response: Response<Incoming>,
        slot: Slot,
        websocket: Option<WebSocket>,
    ) -> Response<Body> {
        if let Some(websocket) = websocket
            && response.status() == StatusCode::OK
        {
            let Ok(upgraded) = hyper::upgrade::on(&mut response).await else {
                return self.broken("it ended the WebSocket that it had agreed to");
            };
            self.exchange.leaves_service();
            let is_stream = self.exchange.client.is_multiplexed();
            let counted = self.exchange.visit().map(|visit| visit.tunnelled(is_stream));
            *self.exchange.client.tunnel.borrow_mut() = Some(ServiceEnd {
                io: ServiceIo::Stream { io: TokioIo::new(upgraded), counted, _place: slot },
                said: Bytes::new(),
                deployment: self.backend.deployment(),
                is_websocket: true,
            });
            return agreement(response, &websocket.key);
        }
        // From here on both sides talk as they like.
        self.exchange.lasts();
        let (parts, incoming) = response.into_parts();
        self.pass_back(parts, incoming, Lease::Stream(slot))
    }
}

/// The same head once more, with the body for one attempt.
fn copy(head: &Parts, attempt: Attempt) -> Request<Attempt> {
    let mut copy = Request::new(attempt);
    *copy.method_mut() = head.method.clone();
    *copy.uri_mut() = head.uri.clone();
    *copy.version_mut() = head.version;
    *copy.headers_mut() = head.headers.clone();
    if let Some(protocol) = head.extensions.get::<Protocol>() {
        copy.extensions_mut().insert(protocol.clone());
    }
    copy
}

fn sorted(mut error: TrySendError<Request<Attempt>>) -> Lost {
    let unsent = error.take_message().is_some();
    let error = error.into_error();
    let why = error_chain(&error);
    let mut source = std::error::Error::source(&error);
    let said = loop {
        match source {
            Some(cause) => match cause.downcast_ref::<h2::Error>() {
                Some(said) => break Some(said),
                None => source = cause.source(),
            },
            None => break None,
        }
    };
    let is_refused = said.is_some_and(|said| {
        let is_refusal = said.is_go_away() || said.reason() == Some(h2::Reason::REFUSED_STREAM);
        is_refusal && said.is_remote()
    });
    if unsent || is_refused {
        Lost::Unprocessed(why)
    } else if said.is_none_or(h2::Error::is_io) {
        Lost::Unanswered(why)
    } else {
        Lost::Invalid(why)
    }
}

/// The agreement as HTTP/1.1 has it.
fn agreement(response: Response<Incoming>, key: &HeaderValue) -> Response<Body> {
    let (mut parts, _no_body) = response.into_parts();
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    parts.version = Version::HTTP_11;
    hop::strip(&mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept(key)) {
        parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Response::from_parts(parts, Body::empty())
}

/// What proves to a client that its key was read (RFC 6455 §4.2.2).
fn accept(key: &HeaderValue) -> String {
    let salted = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_standard() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn targets_are_whole() {
        let of = |uri: &'static str, authority: &'static str| {
            target(&Uri::from_static(uri), &HeaderValue::from_static(authority)).to_string()
        };
        assert_eq!(of("/x?y", "A.example:81"), "http://A.example:81/x?y");
        assert_eq!(of("/", "[::1]:80"), "http://[::1]:80/");
        assert_eq!(of("/x", ""), "http://localhost/x");
    }
}
