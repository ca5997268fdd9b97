//! For whom a trusted proxy asks: `X-Forwarded-For`, `-Proto`, `-Port` and `-Host`.
//!
//! Read from nobody else. `Forwarded` (RFC 7239) is not read: two ways to say the same could differ,
//! and every proxy speaks the older one.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::forwarded::{
    Peer, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use crate::head;
use crate::listen::Scheme;
use crate::ranges::Ranges;

/// Whom a request is from by the word of `proxy`; none if `proxy` is nobody whose word counts.
pub(crate) fn for_whom(trusted: &Ranges, proxy: &Peer, headers: &HeaderMap) -> Option<Peer> {
    if !trusted.contains(proxy.address()) {
        return None;
    }
    let address = client(trusted, proxy.address(), headers);
    let scheme = last(headers, &X_FORWARDED_PROTO).and_then(scheme);
    let port = last(headers, &X_FORWARDED_PORT).and_then(|port| port.parse().ok());
    let host = headers.get_all(X_FORWARDED_HOST).iter().next_back();
    let host = host.filter(|host| host.to_str().is_ok_and(head::is_authority));
    Some(proxy.asks_for(address, scheme, port, host.cloned()))
}

/// The nearest address that is not trusted. Each hop has written behind the others whom it got the
/// request from, so that the last entry is the word of `proxy`, and one before it is the word of the
/// address behind it: what an untrusted one says counts no more than any other field.
fn client(trusted: &Ranges, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
    let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut hops = values.flat_map(|value| value.as_bytes().rsplit(|&b| b == b','));
    let mut nearest = proxy;
    while trusted.contains(nearest) {
        match hops.next().and_then(hop) {
            Some(before) => nearest = before,
            // Nobody before it, or nobody who can be named.
            None => break,
        }
    }
    nearest
}

/// An address as proxies write it: some add the port, and IPv6 may be in brackets.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with: SocketAddr| with.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value: &HeaderValue = headers.get_all(name).iter().next_back()?;
    value.to_str().ok()?.rsplit(',').next().map(str::trim)
}

fn scheme(text: &str) -> Option<Scheme> {
    match text {
        "https" | "wss" => Some(Scheme::Https),
        "http" | "ws" => Some(Scheme::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarded::Origin;

    const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

    fn said(from: &str, fields: &[(&'static str, &str)]) -> Option<String> {
        let trusted = Ranges::new(&TRUSTED.map(|range| range.parse().unwrap()));
        let peer = SocketAddr::new(from.parse().unwrap(), 4000);
        let peer = Peer::of(Origin { peer, port: 80, scheme: Scheme::Http });
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let asks = for_whom(&trusted, &peer, &headers)?;
        asks.tell(&mut headers, &HeaderValue::from_static("a.example"));
        let field = |name| headers[name].to_str().unwrap().to_owned();
        Some(format!(
            "{} {} {} {}",
            field("x-forwarded-for"),
            field("x-forwarded-proto"),
            field("x-forwarded-port"),
            field("x-forwarded-host")
        ))
    }

    #[test]
    fn the_nearest_that_is_not_trusted_is_the_client() {
        let client = |from: &str, hops: &[&str]| {
            let fields: Vec<_> = hops.iter().map(|hop| ("x-forwarded-for", *hop)).collect();
            said(from, &fields).map(|said| said.split(' ').next().unwrap().to_owned())
        };
        assert_eq!(client("192.0.2.1", &["203.0.113.5"]), None);
        for (hops, address) in [
            (&["203.0.113.5"][..], "203.0.113.5"),
            (&["6.6.6.6, 203.0.113.5"], "203.0.113.5"),
            (&["6.6.6.6, 203.0.113.5, 10.3.3.3"], "203.0.113.5"),
            (&["6.6.6.6", "203.0.113.5", "10.3.3.3, fd00::7"], "203.0.113.5"),
            (&["10.3.3.3,10.4.4.4"], "10.3.3.3"),
            (&["203.0.113.5:4711"], "203.0.113.5"),
            (&["[2001:db8::5]:4711"], "2001:db8::5"),
            (&["[2001:db8::5]"], "2001:db8::5"),
            (&["2001:db8::5"], "2001:db8::5"),
            (&["::ffff:203.0.113.5"], "203.0.113.5"),
            // What cannot be read ends what is believed.
            (&["203.0.113.5, unknown"], "10.0.0.1"),
            (&["203.0.113.5, unknown, 10.3.3.3"], "10.3.3.3"),
            (&["203.0.113.5,"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", hops).as_deref(), Some(address), "{hops:?}");
        }
    }

    #[test]
    fn scheme_port_and_host() {
        let with = |fields| said("10.0.0.1", fields).unwrap();
        assert_eq!(with(&[]), "10.0.0.1 http 80 a.example");
        assert_eq!(with(&[("x-forwarded-proto", "https")]), "10.0.0.1 https 443 a.example");
        let all = [
            ("x-forwarded-for", "203.0.113.5"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-host", "b.example:8443"),
        ];
        assert_eq!(with(&all), "203.0.113.5 https 8443 b.example:8443");
        let odd = [
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-port", "x"),
            ("x-forwarded-host", "b.example\"; for=6.6.6.6"),
        ];
        assert_eq!(with(&odd), "10.0.0.1 http 80 a.example");
    }
}
