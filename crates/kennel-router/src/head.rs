//! What a request's head must be before anything is done with it.
//!
//! Pure functions over what came in, so that every smuggling vector is a unit test. What hyper
//! refuses itself (malformed lines, differing lengths, more than 100 fields) never comes here.

use std::borrow::Cow;

use hyper::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri, Version};
use memchr::memchr_iter;

use crate::framing::is_length;
use crate::limits::URI_BYTES;

/// Whom a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// The host's name in lower case, without port and final dot. Empty only for HTTP/1.0.
    pub(crate) host: Cow<'a, str>,
    /// Host and port as the client wrote them.
    pub(crate) authority: &'a str,
}

/// Why a request is answered without looking at the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no `Host`, or there are two, or it is no host (RFC 9112 §3.2).
    Host,
    /// The target is no path, or of another scheme.
    Target,
    /// The target is longer than 8 KiB.
    TargetTooLong,
    /// CONNECT: the router is nobody's forward proxy.
    Connect,
    /// Both `Content-Length` and `Transfer-Encoding`: two readers could disagree.
    TwoLengths,
    /// A transfer coding other than `chunked`.
    TransferEncoding,
    /// A `Content-Length` that not everybody reads as the same number.
    Length,
    /// A line that ends without a carriage return: for some it does not end there.
    LineFeed,
}

/// Checks a head. `raw` is the head as it came in, as far as that is known: what follows it may
/// stand there too, and its beginning or all of it may be missing.
pub(crate) fn check<'a>(parts: &'a Parts, raw: &[u8]) -> Result<Asked<'a>, Refusal> {
    if has_bare_line_feed(raw) {
        return Err(Refusal::LineFeed);
    }
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    check_target(&parts.method, &parts.uri)?;
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err(Refusal::TransferEncoding);
        }
        if has_content_length(raw) {
            return Err(Refusal::TwoLengths);
        }
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next()
        && (lengths.next().is_some() || !is_length(length))
    {
        return Err(Refusal::Length);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().map_err(|_| Refusal::Host)?),
        (None, _) if parts.version < Version::HTTP_11 => None,
        // RFC 9113 §8.3.1: the authority is a part of the target there.
        (None, _) if parts.version == Version::HTTP_2 && parts.uri.authority().is_some() => None,
        _ => return Err(Refusal::Host),
    };
    if let Some(host) = host {
        name_of(host).ok_or(Refusal::Host)?;
    }
    if parts.version == Version::HTTP_2
        && let Some((host, authority)) = host.zip(parts.uri.authority())
        && !host.eq_ignore_ascii_case(authority.as_str())
    {
        return Err(Refusal::Host);
    }
    // RFC 9112 §3.2.2: the authority of an absolute target replaces the field.
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => host.unwrap_or_default(),
    };
    if authority.is_empty() {
        return Ok(Asked { host: Cow::Borrowed(""), authority });
    }
    let host = name_of(authority).ok_or(Refusal::Host)?;
    Ok(Asked { host, authority })
}

fn check_target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    if let Some(scheme) = uri.scheme_str()
        && scheme != "http"
        && scheme != "https"
    {
        return Err(Refusal::Target);
    }
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > URI_BYTES {
        return Err(Refusal::TargetTooLong);
    }
    // RFC 9112 §3.2.4: for the whole host there is nothing else to ask.
    let is_of_host = target == "*" && *method == Method::OPTIONS;
    if target.starts_with('/') || is_of_host { Ok(()) } else { Err(Refusal::Target) }
}

/// Whether it is `host[:port]`.
pub(crate) fn is_authority(text: &str) -> bool {
    name_of(text).is_some()
}

/// The name in `host[:port]`, as the table spells it.
pub(crate) fn name_of(authority: &str) -> Option<Cow<'_, str>> {
    let (name, port) = match authority.rfind(':') {
        // The last colon of an address in brackets is not a port's.
        Some(at) if !authority.ends_with(']') => authority.split_at(at),
        _ => (authority, ""),
    };
    let port = port.strip_prefix(':').unwrap_or_default();
    if port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok().then_some(Cow::Borrowed(name));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if name.is_empty()
        || name.len() > 253
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
        || !name.bytes().all(allowed)
    {
        return None;
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Some(Cow::Owned(name.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(name))
    }
}

/// Whether the first head in these bytes has a `Content-Length` line.
///
/// hyper removes that field when `Transfer-Encoding` stands beside it, which RFC 9112 §6.1 allows;
/// refusing is what it recommends, and what every other proxy does.
fn has_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    raw.split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
        .any(|line| match line.split_at_checked(NAME.len()) {
            Some((name, rest)) => name.eq_ignore_ascii_case(NAME) && rest.starts_with(b":"),
            None => false,
        })
}

/// Whether a line of the first head in these bytes ends with a line feed alone, which hyper takes
/// for an end (RFC 9112 §2.2 allows that), and whoever stands before this router may not.
fn has_bare_line_feed(raw: &[u8]) -> bool {
    let mut start = 0;
    for at in memchr_iter(b'\n', raw) {
        match raw.get(start..at) {
            // Its carriage return may have come with an earlier request's bytes.
            Some([]) if start == 0 => {}
            // The end of the head.
            Some(b"\r") => return false,
            Some(line) if line.ends_with(b"\r") => {}
            Some(_) | None => return true,
        }
        start = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn checked(target: &str, fields: &[(&str, &str)]) -> Result<String, Refusal> {
        check(&parts(target, fields), b"").map(|asked| asked.host.into_owned())
    }

    #[test]
    fn a_host_is_a_name_without_port_case_and_final_dot() {
        for (written, name) in [
            ("site.example", "site.example"),
            ("SITE.Example:8080", "site.example"),
            ("site.example.", "site.example"),
            ("site.example.:80", "site.example"),
            ("site.example:", "site.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(checked("/", &[("host", written)]), Ok(name.to_owned()), "{written}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for written in [
            "a b", "a/b", "a@b", "a..b", ".a", "a..", ".", ":80", "a:b", "a:123456", "a:80:80",
            "[::1", "[x]", "a<b>", "a,b", "a%00", "a\\b",
        ] {
            assert_eq!(checked("/", &[("host", written)]), Err(Refusal::Host), "{written}");
        }
        let long = format!("{}.a", "a".repeat(253));
        assert_eq!(checked("/", &[("host", &long)]), Err(Refusal::Host));
    }

    #[test]
    fn exactly_one_host() {
        assert_eq!(checked("/", &[]), Err(Refusal::Host));
        assert_eq!(checked("/", &[("host", "a"), ("host", "a")]), Err(Refusal::Host));
        assert_eq!(checked("http://a/", &[]), Err(Refusal::Host));
    }

    #[test]
    fn the_authority_of_the_target_wins() {
        let parts = parts("http://A.example:81/x", &[("host", "b.example")]);
        let asked = check(&parts, b"").unwrap();
        assert_eq!(asked, Asked { host: "a.example".into(), authority: "A.example:81" });
    }

    #[test]
    fn user_names_and_other_schemes_are_refused() {
        assert_eq!(checked("http://u@a/", &[("host", "a")]), Err(Refusal::Host));
        assert_eq!(checked("ftp://a/", &[("host", "a")]), Err(Refusal::Target));
    }

    #[test]
    fn transfer_codings() {
        let with = |coding| checked("/", &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!(with("Chunked"), Ok("a".into()));
        for bad in ["gzip, chunked", "chunked, chunked", "xchunked", "chunked;q=1", ""] {
            assert_eq!(with(bad), Err(Refusal::TransferEncoding), "{bad}");
        }
        let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "x")];
        assert_eq!(checked("/", &twice), Err(Refusal::TransferEncoding));
        let chunked = parts("/", &[("host", "a"), ("transfer-encoding", "chunked")]);
        let raw = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(check(&chunked, raw), Err(Refusal::TwoLengths));
    }

    #[test]
    fn lengths() {
        let with = |length| checked("/", &[("host", "a"), ("content-length", length)]);
        assert_eq!(with("10"), Ok("a".into()));
        for bad in ["010", "+1", "1, 1", ""] {
            assert_eq!(with(bad), Err(Refusal::Length), "{bad}");
        }
        let twice = [("host", "a"), ("content-length", "1"), ("content-length", "1")];
        assert_eq!(checked("/", &twice), Err(Refusal::Length));
    }

    #[test]
    fn line_feeds_alone_are_found_in_the_first_head_only() {
        for bad in ["GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n", "x\r\n\n"] {
            assert!(has_bare_line_feed(bad.as_bytes()), "{bad:?}");
        }
        for good in ["", "GET / HTTP/1.1\r\n\r\nbody\n", "\r\n\r\n\n", "\na: b\r\n\r\n"] {
            assert!(!has_bare_line_feed(good.as_bytes()), "{good:?}");
        }
    }

    #[test]
    fn the_second_length_is_found_in_the_first_head_only() {
        assert!(has_content_length(b"POST / HTTP/1.1\r\nContent-LENGTH:3\r\n\r\n"));
        assert!(has_content_length(b"\r\nPOST / HTTP/1.1\nhost: a\ncontent-length: 3\n\n"));
        assert!(!has_content_length(b"POST / HTTP/1.1\r\nx-content-length: 3\r\n\r\n"));
        assert!(!has_content_length(b"POST / HTTP/1.1\r\n\r\ncontent-length: 3\r\n"));
        assert!(!has_content_length(b""));
    }

    #[test]
    fn a_long_target_is_refused() {
        let long = format!("/{}", "a".repeat(8192));
        assert_eq!(checked(&long, &[("host", "a")]), Err(Refusal::TargetTooLong));
    }

    proptest::proptest! {
        #[test]
        fn no_host_makes_it_panic_or_reach_the_table_unclean(host in ".{0,300}") {
            if let Some(name) = name_of(&host) {
                let clean = |c: char| c.is_ascii_graphic() && !"/\\@<>\"'".contains(c);
                proptest::prop_assert!(name.chars().all(clean));
                proptest::prop_assert_eq!(name.to_ascii_lowercase(), name.as_ref());
            }
        }
    }
}
