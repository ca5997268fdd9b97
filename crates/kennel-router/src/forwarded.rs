//! Who asked, as the service is told: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239).
//!
//! Always set, and believed of trusted proxies alone ([`crate::vouched`]): whatever a client sends
//! under these names, also spelled with `_` as CGI would fold them, is dropped first. So is what CGI
//! would fold into a body's length.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName, HeaderValue};

use crate::listen::Scheme;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Where a connection is from, and to which listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
}

/// Who asks: what is the same for all requests of a connection, as field values too.
pub(crate) struct Peer {
    address: IpAddr,
    scheme: Scheme,
    ip: HeaderValue,
    node: String,
    port: HeaderValue,
    /// What a proxy was asked for, if it says so.
    host: Option<HeaderValue>,
    /// The host of the last request and its `Forwarded`: nearly always the next one's too.
    last: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// The same with all that is told, as lines.
    lines: RefCell<Option<Lines>>,
}

/// A host, and what is told of a client that asks for it.
type Lines = (Box<[u8]>, Rc<[u8]>);

impl Peer {
    /// The client that a connection is from.
    pub(crate) fn of(Origin { peer, port, scheme }: Origin) -> Self {
        Self::new(peer.ip(), port, scheme, None)
    }

    /// The client that this one says it asks for. What it does not say is as it is here.
    pub(crate) fn asks_for(
        &self,
        address: IpAddr,
        scheme: Option<Scheme>,
        port: Option<u16>,
        host: Option<HeaderValue>,
    ) -> Self {
        let scheme = scheme.unwrap_or(self.scheme);
        let asks = Self::new(address, port.unwrap_or(scheme.port()), scheme, host);
        let port = if port.is_none() && scheme == self.scheme { &self.port } else { &asks.port };
        Self { port: port.clone(), ..asks }
    }

    fn new(address: IpAddr, port: u16, scheme: Scheme, host: Option<HeaderValue>) -> Self {
        // A listener for both families shows IPv4 as ::ffff:192.0.2.1.
        let address = address.to_canonical();
        let text = address.to_string();
        let node = match address {
            IpAddr::V4(_) => text.clone(),
            IpAddr::V6(_) => format!("\"[{text}]\""),
        };
        Self {
            address,
            scheme,
            ip: value(&text),
            node,
            port: HeaderValue::from(port),
            host,
            last: RefCell::new(None),
            lines: RefCell::new(None),
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it speaks HTTPS.
    pub(crate) fn is_secured(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Replaces whatever the request says about its origin by the truth. `host` is the checked
    /// `Host`, which has no character that needs quoting.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let host = self.host.as_ref().unwrap_or(host);
        drop_claims(headers);
        headers.insert(X_FORWARDED_FOR, self.ip.clone());
        headers.insert(X_REAL_IP, self.ip.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme.name()));
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
        let (node, proto) = (&self.node, self.scheme.name());
        let text = match host.to_str() {
            Ok(host) => format!("for={node};host=\"{host}\";proto={proto}"),
            Err(_) => format!("for={node};proto={proto}"),
        };
        let forwarded = value(&text);
        // Not the value itself: it is a part of all that was read with it.
        *last = HeaderValue::from_bytes(host.as_bytes()).ok().map(|host| (host, forwarded.clone()));
        forwarded
    }

    /// What [`Peer::tell`] adds, as lines of a head. The request's own claims are to be dropped.
    pub(crate) fn lines(&self, host: &HeaderValue) -> Rc<[u8]> {
        let mut last = self.lines.borrow_mut();
        if let Some((known, lines)) = last.as_ref()
            && **known == *host.as_bytes()
        {
            return Rc::clone(lines);
        }
        let mut fields = HeaderMap::new();
        self.tell(&mut fields, host);
        let mut lines = Vec::new();
        for (name, value) in &fields {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        let lines: Rc<[u8]> = lines.into();
        *last = Some((host.as_bytes().into(), Rc::clone(&lines)));
        lines
    }
}

/// Text made of addresses and checked hosts always is a field value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Drops what a request itself says of its origin.
pub(crate) fn drop_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> =
        headers.keys().filter(|name| is_claim(name.as_str().as_bytes())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether a field's name (in lower case) is one of the origin's, `-` and `_` being the same, or
/// becomes another one only so.
fn is_claim(name: &[u8]) -> bool {
    match name.first() {
        Some(b'x') => {
            starts_like(name, b"x-forwarded")
                || (name.len() == 9 && starts_like(name, b"x-real-ip"))
        }
        Some(b'f') => name == b"forwarded",
        Some(b'c') => name == b"content_length",
        Some(b't') => name == b"transfer_encoding",
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
            ("content_length", "7"),
            ("transfer_encoding", "chunked"),
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
