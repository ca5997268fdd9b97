//! Which content coding a client gets (RFC 9110 §12.5.3).
//!
//! Pure and without allocation: it is asked for each request of a file that has any.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};

/// A way to make a file smaller on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub(super) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// What is appended to a file's name for its sibling.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// The value of `Content-Encoding`.
    pub(super) fn field(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn is_named(self, name: &[u8]) -> bool {
        // RFC 9110 §8.4.1.3 has a second name for it.
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// How much a client wants each coding, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    named: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    others: Option<u16>,
}

impl Wishes {
    /// Reads `Accept-Encoding`. What is malformed in it is passed over: nothing coded is safe.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for value in headers.get_all(ACCEPT_ENCODING) {
            for wish in value.as_bytes().split(|&b| b == b',') {
                wishes.read(wish);
            }
        }
        wishes
    }

    fn read(&mut self, wish: &[u8]) {
        let mut parts = wish.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let Some(name) = parts.next() else { return };
        let weight = match parts.next() {
            None => Some(1000),
            Some(weight) => thousandths(weight),
        };
        let Some(weight) = weight else { return };
        if name == b"*" {
            self.others = Some(weight);
        } else if name.eq_ignore_ascii_case(b"identity") {
            self.identity = Some(weight);
        }
        for (coding, named) in Coding::ALL.iter().zip(&mut self.named) {
            if coding.is_named(name) {
                *named = Some(weight);
            }
        }
    }

    /// How much a coding is wanted; 0 for not at all, or less than the bytes as they are.
    pub(super) fn weight(&self, coding: Coding) -> u16 {
        let known = Coding::ALL.iter().zip(self.named);
        let named = known.into_iter().find(|(known, _)| **known == coding);
        let weight = named.and_then(|(_, weight)| weight).or(self.others).unwrap_or(0);
        if self.identity.is_some_and(|identity| identity > weight) { 0 } else { weight }
    }
}

/// `q=0.5` as 500. None for what is no weight.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (name, value) = weight.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (&first, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut thousandths = match first {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in digits.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?) * worth;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weights of br, zstd and gzip.
    fn weights(fields: &[&'static str]) -> [u16; 3] {
        let mut headers = HeaderMap::new();
        for value in fields {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        let wishes = Wishes::of(&headers);
        Coding::ALL.map(|coding| wishes.weight(coding))
    }

    #[test]
    fn wishes() {
        for (field, expected) in [
            ("", [0, 0, 0]),
            ("gzip", [0, 0, 1000]),
            ("x-gzip", [0, 0, 1000]),
            ("GZIP, Br", [1000, 0, 1000]),
            ("gzip, deflate, br, zstd", [1000, 1000, 1000]),
            ("br;q=0.5,gzip; q=0.25 , zstd ;q=1.000", [500, 1000, 250]),
            ("br;q=0, *", [0, 1000, 1000]),
            ("*;q=0", [0, 0, 0]),
            ("*;q=0.1, gzip", [100, 100, 1000]),
            ("identity, gzip;q=0.5, br", [1000, 0, 0]),
            ("identity;q=0.5, gzip;q=0.5", [0, 0, 500]),
            ("identity;q=0, *;q=0", [0, 0, 0]),
            ("br;q=2, zstd;q=1.001, gzip;q=0.1234", [0, 0, 0]),
            ("br;q=, zstd;q=x, gzip;q=0.x", [0, 0, 0]),
            ("br;level=3, zstd;, gzip;q", [0, 0, 0]),
            ("brotli, gz, zst", [0, 0, 0]),
        ] {
            assert_eq!(weights(&[field]), expected, "{field}");
        }
        assert_eq!(weights(&["br", "gzip;q=0.5"]), [1000, 0, 500]);
        assert_eq!(weights(&[]), [0, 0, 0]);
    }
}
