//! What strangers' bytes meet first, for the fuzz targets in `fuzz/`: each of these takes any bytes, and
//! panics when what comes of them is not what the rest of the router may rely on.
//!
//! In builds for fuzzing, and in tests, which replay the corpus and what is like it. In no other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is the finding")]

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use crate::forwarded::{Origin, Peer};
use crate::framing::{self, is_length};
use crate::head;
use crate::hop;
use crate::listen::Scheme;
use crate::prefix::Prefix;
use crate::proxy::join_cookies;
use crate::proxy_protocol;
use crate::ranges::Ranges;
pub use crate::site::fuzzing::{conditions, path, rules};
use crate::vouched;

/// A request's head, as it came in and as hyper might have read it: then what is made of it for a
/// service.
pub fn head(data: &[u8]) {
    let Some(mut parts) = request(data) else { return };
    let authority = {
        let Ok(asked) = head::check(&parts, data) else { return };
        let is_plain = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && b != b'@';
        assert!(asked.host.bytes().all(is_plain), "the host {:?}", asked.host);
        assert!(!asked.host.is_empty() || parts.version == Version::HTTP_10, "no host");
        HeaderValue::from_str(asked.authority).unwrap()
    };
    assert_ne!(parts.method, Method::CONNECT);
    let lengths: Vec<_> = parts.headers.get_all(CONTENT_LENGTH).iter().collect();
    assert!(lengths.len() <= 1 && lengths.iter().all(|length| is_length(length)));
    let codings: Vec<_> = parts.headers.get_all(TRANSFER_ENCODING).iter().collect();
    assert!(codings.len() <= 1);
    assert!(codings.iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
    if let Some(prefix) = Prefix::new("/api") {
        prefix.strip(&mut parts);
    }
    tell(&mut parts.headers, &authority);
}

/// Fields of a request, also of one from a trusted proxy, or of an answer.
pub fn fields(data: &[u8]) {
    let authority = HeaderValue::from_static("a.example");
    tell(&mut headers(data), &authority);
    let trusted = Ranges::new(&["10.0.0.0/8".parse().unwrap()]);
    let origin = Origin { peer: "10.1.1.1:4000".parse().unwrap(), port: 80, scheme: Scheme::Http };
    let mut vouched = headers(data);
    let asks = vouched::for_whom(&trusted, &Peer::of(origin), &vouched).unwrap();
    asks.tell(&mut vouched, &authority);
    let said: Vec<_> = vouched.get_all("x-forwarded-for").iter().collect();
    assert!(matches!(said[..], [one] if one.to_str().unwrap().parse::<IpAddr>().is_ok()));

    let mut response = Response::new(()).into_parts().0;
    response.headers = headers(data);
    response.status = match data.first() {
        Some(b'2') => StatusCode::NO_CONTENT,
        Some(b'3') => StatusCode::NOT_MODIFIED,
        Some(_) | None => StatusCode::OK,
    };
    let _has_excess = framing::has_excess(response.status, &response.headers);
    if framing::settle(&mut response).is_ok() {
        let lengths = response.headers.get_all(CONTENT_LENGTH).iter().count();
        let codings = response.headers.get_all(TRANSFER_ENCODING).iter().count();
        assert!(lengths + codings <= 1, "{response:?}");
    }
}

/// What a proxy says before the client's first byte.
pub fn proxy_protocol(data: &[u8]) {
    let Some(length) = proxy_protocol::length(data) else { return };
    assert!(length <= data.len());
    // Nothing that is behind it, or missing, makes another header of it.
    assert_eq!(proxy_protocol::length(&data[..length]), Some(length));
    assert_eq!(proxy_protocol::length(&data[..length - 1]), None);
}

/// Makes of a request's fields what a service gets.
fn tell(headers: &mut HeaderMap, authority: &HeaderValue) {
    let hosts = headers.get_all(HOST).iter().count();
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if let Some(protocol) = hop::upgrade(headers) {
        assert!(!protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2"), "{protocol:?}");
    }
    hop::strip(headers);
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        assert!(!headers.contains_key(&name), "{name} stays");
    }
    assert_eq!(headers.get_all(HOST).iter().count(), hosts);
    assert_eq!(headers.get_all(CONTENT_LENGTH).iter().count(), lengths);
    let origin = Origin { peer: "192.0.2.1:4000".parse().unwrap(), port: 80, scheme: Scheme::Http };
    Peer::of(origin).tell(headers, authority);
    let said: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    assert_eq!(said, ["192.0.2.1"]);
    assert_eq!(headers.get_all(FORWARDED).iter().count(), 1);
    assert!(!headers.contains_key("x_forwarded_for") && !headers.contains_key("content_length"));
    join_cookies(headers);
    assert!(headers.get_all(COOKIE).iter().count() <= 1);
}

/// `METHOD TARGET VERSION` and fields, each in a line. None if hyper would not have let it through.
fn request(data: &[u8]) -> Option<Parts> {
    let line = data.split(|&b| b == b'\n').next()?.trim_ascii_end();
    let mut words = line.split(|&b| b == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let version = match version {
        b"HTTP/2" => Version::HTTP_2,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let request = Request::builder().method(method).uri(target).version(version);
    let mut parts = request.body(()).ok()?.into_parts().0;
    parts.headers = headers(data);
    Some(parts)
}

/// Lines with a colon, as far as they are fields.
pub(crate) fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&b| b == b'\n').take(100) {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 6] = [
        ("head", head),
        ("fields", fields),
        ("proxy_protocol", proxy_protocol),
        ("site_path", path),
        ("conditions", conditions),
        ("site_rules", rules),
    ];

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut files: Vec<_> = fs::read_dir(fuzz).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort_unstable();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn the_corpus() {
        for (name, target) in TARGETS {
            let corpus = corpus(name);
            assert!(corpus.len() > 3, "{name} has {}", corpus.len());
            corpus.iter().for_each(|bytes| target(bytes));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_like_the_corpus(
            which in any::<Index>(),
            one in any::<Index>(),
            other in any::<Index>(),
            edits in vec((any::<Index>(), any::<u8>(), 0..4_u8), 0..6),
        ) {
            let (name, target) = TARGETS[which.index(TARGETS.len())];
            let corpus = corpus(name);
            let mut bytes = corpus[one.index(corpus.len())].clone();
            for (at, byte, what) in edits {
                let at = at.index(bytes.len() + 1);
                match what {
                    0 => bytes.insert(at, byte),
                    1 => bytes.truncate(at),
                    2 => drop(bytes.splice(at.., corpus[other.index(corpus.len())].clone())),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                }
            }
            target(&bytes);
        }
    }
}
