//! Who asked, as the service is told: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239).
//!
//! Always set and never believed: whatever a client sends under these names, also spelled with `_`
//! as CGI would fold them, is dropped first.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};

use crate::listen::Scheme;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Where a connection is from, and to which listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
}

/// What is the same for all requests of a connection, as field values.
pub(crate) struct Peer {
    ip: HeaderValue,
    node: String,
    port: HeaderValue,
    proto: &'static str,
    /// The host of the last request and its `Forwarded`: nearly always the next one's too.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Peer {
    /// The client that a connection is from.
    pub(crate) fn of(Origin { peer, port, scheme }: Origin) -> Self {
        // A listener for both families shows IPv4 as ::ffff:192.0.2.1.
        let ip = peer.ip().to_canonical();
        let text = ip.to_string();
        let node = match ip {
            IpAddr::V4(_) => text.clone(),
            IpAddr::V6(_) => format!("\"[{text}]\""),
        };
        Self {
            ip: value(&text),
            node,
            port: HeaderValue::from(port),
            proto: match scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            },
            last: RefCell::new(None),
        }
    }

    /// Replaces whatever the request says about its origin by the truth. `host` is the checked
    /// `Host`, which has no character that needs quoting.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        drop_claims(headers);
        headers.insert(X_FORWARDED_FOR, self.ip.clone());
        headers.insert(X_REAL_IP, self.ip.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.proto));
        headers.insert(X_FORWARDED_PORT, self.port.clone());
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(FORWARDED, self.forwarded(host));
    }

    fn forwarded(&self, host: &HeaderValue) -> HeaderValue {
        let mut last = self.last.borrow_mut();
        if let Some((known, forwarded)) = last.as_ref()
            && known == host
        {
            return forwarded.clone();
        }
        let Self { node, proto, .. } = self;
        let text = match host.to_str() {
            Ok(host) => format!("for={node};host=\"{host}\";proto={proto}"),
            Err(_) => format!("for={node};proto={proto}"),
        };
        let forwarded = value(&text);
        *last = Some((host.clone(), forwarded.clone()));
        forwarded
    }
}

/// Text made of addresses and checked hosts always is a field value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

fn drop_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| is_claim(name.as_str().as_bytes())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether a field's name (in lower case) is one of the origin's, `-` and `_` being the same.
fn is_claim(name: &[u8]) -> bool {
    match name.first() {
        Some(b'x') => {
            starts_like(name, b"x-forwarded")
                || (name.len() == 9 && starts_like(name, b"x-real-ip"))
        }
        Some(b'f') => name == b"forwarded",
        _ => false,
    }
}

fn starts_like(name: &[u8], start: &[u8]) -> bool {
    name.len() >= start.len()
        && name.iter().zip(start).all(|(&a, &b)| a == b || (a == b'_' && b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str, fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let peer = peer.parse().unwrap();
        let peer = Peer::of(Origin { peer, port: 80, scheme: Scheme::Http });
        peer.tell(&mut headers, &HeaderValue::from_static("a.example:80"));
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    #[test]
    fn claims_are_replaced() {
        insta::assert_snapshot!(told("192.0.2.7:4000", &[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x_forwarded_for", "3.3.3.3"),
            ("x-forwarded_proto", "https"),
            ("x-forwarded-user", "root"),
            ("x_real_ip", "4.4.4.4"),
            ("x-real-ip", "5.5.5.5"),
            ("forwarded", "for=6.6.6.6"),
            ("x-request-id", "kept"),
        ]), @r#"
        forwarded: for=192.0.2.7;host="a.example:80";proto=http
        x-forwarded-for: 192.0.2.7
        x-forwarded-host: a.example:80
        x-forwarded-port: 80
        x-forwarded-proto: http
        x-real-ip: 192.0.2.7
        x-request-id: kept
        "#);
    }

    #[test]
    fn addresses_of_both_families() {
        insta::assert_snapshot!(told("[::ffff:192.0.2.7]:4000", &[]).lines().next().unwrap(), @r#"forwarded: for=192.0.2.7;host="a.example:80";proto=http"#);
        insta::assert_snapshot!(told("[2001:db8::1]:4000", &[]).lines().next().unwrap(), @r#"forwarded: for="[2001:db8::1]";host="a.example:80";proto=http"#);
    }
}
