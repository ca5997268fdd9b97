//! Fields that belong to one connection and not to the message (RFC 9110 §7.6.1).
//!
//! Used in both directions, before anything is added: what `Connection` names must never take away
//! what the router itself says.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, UPGRADE};

/// Removes the fields of one connection.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    // There is one at most in nearly all messages: looking is faster than removing each of them.
    while let Some(name) = headers.keys().find(|name| is_of_connection(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether a field with this name is always its connection's. `proxy` is never a field of HTTP, and
/// the environment variable HTTP_PROXY of a CGI program ("httpoxy").
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for token in tokens(headers, &CONNECTION) {
        // Almost always one of these, and then nothing is allocated.
        if is_token(token, "close") || is_token(token, "keep-alive") || is_token(token, "upgrade") {
            continue;
        }
        match HeaderName::from_bytes(token) {
            // Without these the message would be another one.
            Ok(name) if name == HOST || name == CONTENT_LENGTH => {}
            Ok(name) => names.push(name),
            // What is no field's name cannot be a field.
            Err(_) => {}
        }
    }
    names
}

/// Whether the message is the last one of its connection.
pub(crate) fn closes(headers: &HeaderMap) -> bool {
    tokens(headers, &CONNECTION).any(|token| is_token(token, "close"))
}

/// The protocol that the message wants to change to, if it does.
///
/// HTTP/2 without TLS is not among them: it would carry requests past every check.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = tokens(headers, &CONNECTION).any(|token| is_token(token, "upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| asked)?;
    let protocols = protocol.as_bytes();
    let is_http = protocols.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
        || protocols.contains(&b',');
    (!is_http).then(|| protocol.clone())
}

/// Whether the client takes trailers, which HTTP/2 asks about once more (RFC 9110 §10.1.4).
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| is_token(token, "trailers"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

fn is_token(token: &[u8], word: &str) -> bool {
    token.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn what_belongs_to_the_connection_goes() {
        let mut headers = map(&[
            ("connection", "close, X-One"),
            ("connection", "x-two ,, Host, content-length"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-connection", "keep-alive"),
            ("proxy", "http://evil"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("host", "a"),
            ("content-length", "1"),
        ]);
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-three"]);
    }

    #[test]
    fn an_upgrade_needs_both_fields() {
        let both = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&both).unwrap(), "websocket");
        assert_eq!(upgrade(&map(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&map(&[("connection", "upgrade")])), None);
    }

    #[test]
    fn http_2_is_not_tunnelled() {
        for protocol in ["h2c", "H2C", "h2", "websocket, h2c"] {
            let headers = map(&[("connection", "upgrade"), ("upgrade", protocol)]);
            assert_eq!(upgrade(&headers), None, "{protocol}");
        }
    }
}
