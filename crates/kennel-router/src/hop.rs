//! Fields that belong to one connection and not to the message (RFC 9110 §7.6.1).
//!
//! Used in both directions, before anything is added: what `Connection` names must never take away
//! what the router itself says.

use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
/// Never a field of HTTP, and the environment variable HTTP_PROXY of a CGI program ("httpoxy").
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Removes the fields of one connection.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_AUTHENTICATION_INFO,
        PROXY,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
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
