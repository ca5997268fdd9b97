//! Where a message's body ends, said once (RFC 9112 §6.3).
//!
//! hyper reads bodies by the same fields, and forgives more than others do: here is what it would
//! pass on and another reader would read otherwise. Pure functions over fields.

use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};

/// Whether everybody reads this as the same number: to some, one with a zero before it is octal.
pub(crate) fn is_length(value: &HeaderValue) -> bool {
    match value.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Why nobody can say where an answer ends, or who could is not everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    #[error("it states the length of its body in two ways")]
    Both,
    #[error("its length is no number")]
    Length,
    #[error("its transfer coding is not `chunked` alone")]
    Coding,
    #[error("it has a transfer coding and no body")]
    NoBody,
}

/// Has an answer say its length once, or nothing at all about a body that it cannot have.
pub(crate) fn settle(parts: &mut Parts) -> Result<(), Doubt> {
    let headers = &mut parts.headers;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err(Doubt::Coding);
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Doubt::Both);
        }
        // RFC 9112 §6.1.
        if parts.status == StatusCode::NO_CONTENT {
            return Err(Doubt::NoBody);
        }
        return Ok(());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next().cloned() else { return Ok(()) };
    if !is_length(&length) {
        return Err(Doubt::Length);
    }
    let mut is_repeated = false;
    for other in lengths {
        if *other != length {
            return Err(Doubt::Both);
        }
        is_repeated = true;
    }
    if is_repeated {
        headers.insert(CONTENT_LENGTH, length);
    }
    if parts.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6.
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Whether a body may follow all the same, that is nobody's.
pub(crate) fn has_excess(status: StatusCode, headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    status == StatusCode::NO_CONTENT && length.is_some_and(|length| length != b"0")
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;

    fn settled(status: u16, fields: &[(&str, &str)]) -> Result<String, Doubt> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut parts = response.body(()).unwrap().into_parts().0;
        settle(&mut parts)?;
        let values = parts.headers.values().map(|value| value.to_str().unwrap());
        Ok(values.collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn one_length_is_one() {
        assert_eq!(settled(200, &[]), Ok(String::new()));
        assert_eq!(settled(200, &[("content-length", "15")]), Ok("15".into()));
        assert_eq!(settled(200, &[("transfer-encoding", "Chunked")]), Ok("Chunked".into()));
        let same = [("content-length", "15"), ("content-length", "15")];
        assert_eq!(settled(200, &same), Ok("15".into()));
        assert_eq!(settled(204, &[("content-length", "15")]), Ok(String::new()));
        assert_eq!(settled(304, &[("content-length", "15")]), Ok("15".into()));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_passed_on() {
        for bad in ["", "+1", "-1", "01", "00", "0x1", "1,1", "1 1", "1.0"] {
            assert_eq!(settled(200, &[("content-length", bad)]), Err(Doubt::Length), "{bad}");
        }
        let differ = [("content-length", "1"), ("content-length", "2")];
        assert_eq!(settled(200, &differ), Err(Doubt::Both));
        let both = [("content-length", "1"), ("transfer-encoding", "chunked")];
        assert_eq!(settled(200, &both), Err(Doubt::Both));
        for bad in ["", "identity", "gzip, chunked", "chunked, chunked"] {
            assert_eq!(settled(200, &[("transfer-encoding", bad)]), Err(Doubt::Coding), "{bad}");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(settled(200, &twice), Err(Doubt::Coding));
        assert_eq!(settled(204, &[("transfer-encoding", "chunked")]), Err(Doubt::NoBody));
    }
}
