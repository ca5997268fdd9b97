//! What the router says to gRPC clients, who read no pages: a status that they know.
//!
//! Their calls are HTTP/2 like any other, so that nothing else is needed for them but patience.

use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::body::Body;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether a request is a call ("gRPC over HTTP2", "Requests"): not one of gRPC-Web, whose answers
/// are framed otherwise.
pub(crate) fn is_call(parts: &Parts) -> bool {
    parts.method == Method::POST
        && parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let rest = kind.as_bytes().strip_prefix(GRPC.as_bytes());
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        })
}

/// What stands for one of the router's own answers: a status without a body ("Trailers-Only").
pub(crate) fn instead_of(page: &Response<Body>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(code(page.status())));
    // Of letters, digits and spaces, which need no percent-encoding.
    if let Ok(message) = HeaderValue::from_str(&format!("the router answers {}", page.status())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// As clients translate what does not come from a gRPC server ("HTTP to gRPC Status Code Mapping").
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 12,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn is(method: Method, kind: &str) -> bool {
        let request = Request::builder().method(method).header(CONTENT_TYPE, kind);
        is_call(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(is(Method::POST, kind), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "text/html", ""] {
            assert!(!is(Method::POST, kind), "{kind}");
        }
        assert!(!is(Method::GET, "application/grpc"));
    }

    #[test]
    fn a_status_that_clients_know() {
        for (status, code) in [(503, "14"), (502, "14"), (404, "12"), (400, "13"), (308, "2")] {
            let mut page = Response::new(Body::empty());
            *page.status_mut() = StatusCode::from_u16(status).unwrap();
            let response = instead_of(&page);
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], code, "{status}");
        }
        let mut page = Response::new(Body::empty());
        *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let response = instead_of(&page);
        assert_eq!(
            response.headers()["grpc-message"],
            "the router answers 503 Service Unavailable"
        );
    }
}
