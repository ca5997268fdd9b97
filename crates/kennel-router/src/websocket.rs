//! WebSocket over HTTP/2 (RFC 8441): a stream that asks for it becomes, towards the service, the
//! upgrade that services know (RFC 6455), and back.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;

use crate::body::Body;
use crate::exchange::Turn;
use crate::pages::{self, Page};
use crate::tunnel::{self, ServiceEnd};
use crate::worker::Worker;

/// Makes the request one of HTTP/1.1 (RFC 8441 §5), if it asks for a WebSocket. Returns what becomes
/// the client's side.
pub(crate) fn translate(parts: &mut Parts) -> Option<OnUpgrade> {
    let protocol = parts.extensions.get::<Protocol>()?;
    if parts.method != Method::CONNECT || !protocol.as_str().eq_ignore_ascii_case("websocket") {
        return None;
    }
    let host = HeaderValue::from_str(parts.uri.authority()?.as_str()).ok()?;
    let client_end = parts.extensions.remove::<OnUpgrade>()?;
    parts.method = Method::GET;
    parts.version = Version::HTTP_11;
    parts.headers.insert(HOST, host);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // Against caches that answer what they have not understood (RFC 6455 §10.3); here is none, so
    // that the answer to it is not looked at.
    let key = HeaderValue::from_str(&STANDARD.encode(fastrand::u128(..).to_ne_bytes()));
    parts.headers.insert(SEC_WEBSOCKET_KEY, key.ok()?);
    Some(client_end)
}

/// The answer to a stream whose service has agreed, and the tunnel that it begins.
pub(crate) fn agree(
    worker: &Rc<Worker>,
    turn: Turn,
    client_end: OnUpgrade,
    service: ServiceEnd,
    mut response: Response<Body>,
) -> Response<Body> {
    *response.status_mut() = StatusCode::OK;
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
    turn.becomes_tunnel();
    spawn_local(run(Rc::clone(worker), turn, client_end, service));
    response
}

/// The answer to a stream whose service has not agreed. A success would be taken for agreement
/// (RFC 8441 §5).
pub(crate) fn declined(response: Response<Body>) -> Response<Body> {
    if response.status().is_success() { pages::page(Page::BadGateway) } else { response }
}

/// The turn is held to the end: while there is one, the connection is not idle.
async fn run(worker: Rc<Worker>, mut turn: Turn, client_end: OnUpgrade, service: ServiceEnd) {
    {
        let tunnel = async {
            // Gone already, there is nobody to talk to.
            let Ok(client) = client_end.await else { return };
            tunnel::run(Rc::clone(&worker), TokioIo::new(client), Bytes::new(), service).await;
        };
        let mut tunnel = pin!(tunnel);
        poll_fn(|cx| {
            turn.remember(cx.waker());
            if turn.is_cut() { Poll::Ready(()) } else { tunnel.as_mut().poll(cx) }
        })
        .await;
    }
    turn.completes();
}
