//! A DNS name that a request can be for.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A host name: lower-case DNS labels of at most 63 bytes joined by dots, at most 253 bytes, no
/// port, no final dot, no wildcard (RFC 1123 §2.1). Not an address: the last label is not a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The most bytes a label has.
    pub const MAX_LABEL: usize = 63;

    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 253 {
            return Err("it has not 1 to 253 characters");
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > Self::MAX_LABEL {
                return Err("a part between dots has not 1 to 63 characters");
            }
            if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
                return Err("only a-z, 0-9, `-` and dots may stand in it (punycode for the rest)");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err("a part between dots begins or ends with `-`");
            }
        }
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err("its last part is a number, as in an address");
        }
        Ok(())
    }

    /// Whether this name is `domain` or ends in `.domain`.
    #[must_use]
    pub fn is_within(&self, domain: &Self) -> bool {
        self == domain || self.is_below(domain.as_str())
    }

    /// Whether this name ends in `.domain`.
    #[must_use]
    pub fn is_below(&self, domain: &str) -> bool {
        self.0.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    }
}

text_newtype!(HostName, "host name");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_not_addresses() {
        for good in ["example.com", "localhost", "xn--bcher-kva.example", "a-b.c"] {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "Example.com",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "*.a",
            "-a.b",
            "a-.b",
            "127.0.0.1",
            "a:80",
            "a b",
            "a\n",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn within_needs_a_whole_label() {
        let host = |text: &str| text.parse::<HostName>().unwrap();
        assert!(host("a.b.c").is_within(&host("b.c")));
        assert!(host("b.c").is_within(&host("b.c")));
        assert!(!host("ab.c").is_within(&host("b.c")));
    }
}
