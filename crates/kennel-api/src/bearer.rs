//! The token of a request (RFC 6750 §2.1).
//!
//! In the header alone: what stands in an address ends up in logs and histories.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// What `Authorization` has.
#[derive(PartialEq, Eq)]
pub(crate) enum Bearer<'h> {
    /// There is none.
    Missing,
    /// It is there twice, of another scheme, or no text.
    Odd,
    /// This may be a token.
    Token(&'h str),
}

impl<'h> Bearer<'h> {
    pub(crate) fn read(headers: &'h HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(AUTHORIZATION) { Self::Odd } else { Self::Missing };
        };
        // The scheme's name is in any case (RFC 9110 §11.1).
        match value.to_str().ok().and_then(|value| value.split_once(' ')) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Self::Token(token.trim())
            }
            Some(_) | None => Self::Odd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn once_and_as_a_bearer() {
        assert!(Bearer::read(&headers(&[])) == Bearer::Missing);
        assert!(Bearer::read(&headers(&["Bearer x"])) == Bearer::Token("x"));
        assert!(Bearer::read(&headers(&["bEARER  x"])) == Bearer::Token("x"));
        for odd in [&["Basic eDp5"][..], &["x"], &["Bearer x", "Bearer x"]] {
            assert!(Bearer::read(&headers(odd)) == Bearer::Odd, "{odd:?}");
        }
    }
}
