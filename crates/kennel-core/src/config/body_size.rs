//! The most bytes of a request's body.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::memory_size::written_bytes;
use crate::Invalid;

/// Bytes, at most 2^60, or no limit at all. Written `10M`, as bytes or `"unlimited"`, with K, M, G, T
/// to the base 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct BodySize(u64);

/// How it may stand in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected bytes, a size such as \"10M\", or \"unlimited\"")]
enum Written {
    Bytes(u64),
    Text(String),
}

impl BodySize {
    /// Whatever comes: more than anybody sends.
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// How many bytes; none if any number is taken.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        (self != Self::UNLIMITED).then_some(self.0)
    }

    fn new(bytes: u64, text: &str) -> Result<Self, Invalid> {
        if bytes > 1 << 60 {
            let rule = "it is more than anybody sends; write \"unlimited\"";
            return Err(Invalid::new("size of a body", text, rule));
        }
        Ok(Self(bytes))
    }
}

impl FromStr for BodySize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str =
            "write it like 512K or 10M (K, M, G, T; 1024-based), as bytes, or \"unlimited\"";
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        match written_bytes(text) {
            Some(bytes) => Self::new(bytes, text),
            None => Err(Invalid::new("size of a body", text, RULE)),
        }
    }
}

impl TryFrom<Written> for BodySize {
    type Error = Invalid;

    fn try_from(written: Written) -> Result<Self, Invalid> {
        match written {
            Written::Bytes(bytes) => Self::new(bytes, &bytes.to_string()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<BodySize> for Written {
    fn from(size: BodySize) -> Self {
        size.bytes().map_or_else(|| Self::Text(size.to_string()), Self::Bytes)
    }
}

impl fmt::Display for BodySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_or_no_limit() {
        let size = |text: &str| text.parse::<BodySize>().unwrap();
        assert_eq!(size("10M").bytes(), Some(10 << 20));
        assert_eq!(size("0").bytes(), Some(0));
        assert_eq!(size("unlimited").bytes(), None);
        assert_eq!(size("10M").min(BodySize::UNLIMITED), size("10M"));
    }

    #[test]
    fn as_json_it_reads_back() {
        for (text, json) in [("2K", "2048"), ("unlimited", r#""unlimited""#)] {
            let size: BodySize = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(serde_json::from_str::<BodySize>(json).unwrap(), size);
        }
    }

    #[test]
    fn refusals() {
        let refused = |text: &str| text.parse::<BodySize>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("lots"), @r#"`lots` is not a size of a body: write it like 512K or 10M (K, M, G, T; 1024-based), as bytes, or "unlimited""#);
        insta::assert_snapshot!(refused("9999999T"), @r#"`9999999T` is not a size of a body: it is more than anybody sends; write "unlimited""#);
        for odd in ["", "M", "10m", "10MB", "-1", "+1", " 1", "1.5M", "Unlimited"] {
            assert!(odd.parse::<BodySize>().is_err(), "{odd}");
        }
    }
}
