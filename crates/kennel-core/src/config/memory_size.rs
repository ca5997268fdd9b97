//! An amount of memory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Bytes, from 4 MiB (no program starts with less) to 2^60. Written `512M` or `2G` with K, M, G, T
/// to the base 1024 as in systemd.resource-control(5), or as bytes; shown as bytes, which is what
/// `MemoryMax=` reads too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "u64")]
pub struct MemorySize(u64);

/// How it may stand in a file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected bytes, or a size such as \"512M\"")]
enum Written {
    Bytes(u64),
    Text(String),
}

impl MemorySize {
    /// The default of the operator's limit: 2 GiB.
    pub(super) const DEFAULT_LIMIT: Self = Self(2 << 30);

    /// The default of forks: 512 MiB.
    pub(super) const FORKS_LIMIT: Self = Self(512 << 20);

    /// How many bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    fn new(bytes: u64, text: &str) -> Result<Self, Invalid> {
        let refuse = |rule| Err(Invalid::new("memory size", text, rule));
        if bytes < 4 << 20 {
            return refuse("it is less than 4M");
        }
        if bytes > 1 << 60 {
            return refuse("it is more than any machine has");
        }
        Ok(Self(bytes))
    }
}

impl FromStr for MemorySize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "write it like 512M or 2G (K, M, G, T; 1024-based), or as bytes";
        match written_bytes(text) {
            Some(bytes) => Self::new(bytes, text),
            None => Err(Invalid::new("memory size", text, RULE)),
        }
    }
}

/// The bytes in `512M`, `2G` or `4096`; none if it is written in another way.
pub(super) fn written_bytes(text: &str) -> Option<u64> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'K') => (text.strip_suffix('K'), 1 << 10),
        Some(b'M') => (text.strip_suffix('M'), 1 << 20),
        Some(b'G') => (text.strip_suffix('G'), 1 << 30),
        Some(b'T') => (text.strip_suffix('T'), 1_u64 << 40),
        Some(_) | None => (Some(text), 1),
    };
    // `parse` alone would take `+5`.
    let number = number.filter(|number| !number.is_empty())?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Too many digits are simply a lot.
    Some(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

impl TryFrom<Written> for MemorySize {
    type Error = Invalid;

    fn try_from(written: Written) -> Result<Self, Invalid> {
        match written {
            Written::Bytes(bytes) => Self::new(bytes, &bytes.to_string()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<MemorySize> for u64 {
    fn from(size: MemorySize) -> u64 {
        size.0
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_with_a_unit_and_shown_as_systemd_reads_it() {
        let bytes = |text: &str| text.parse::<MemorySize>().unwrap().to_string();
        assert_eq!(bytes("512M"), "536870912");
        assert_eq!(bytes("2G"), "2147483648");
        assert_eq!(bytes("1T"), "1099511627776");
        assert_eq!(bytes("4096K"), "4194304");
        assert_eq!(bytes("4194304"), "4194304");
    }

    #[test]
    fn refusals() {
        let refused = |text: &str| text.parse::<MemorySize>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("lots"), @"`lots` is not a memory size: write it like 512M or 2G (K, M, G, T; 1024-based), or as bytes");
        insta::assert_snapshot!(refused("3M"), @"`3M` is not a memory size: it is less than 4M");
        insta::assert_snapshot!(refused("99999999999999999999T"), @"`99999999999999999999T` is not a memory size: it is more than any machine has");
        for odd in [
            "", "M", "512m", "512MB", "512MiB", "1.5G", "-1G", "+1G", " 1G", "1G\n", "infinity",
            "50%",
        ] {
            assert!(odd.parse::<MemorySize>().is_err(), "{odd}");
        }
    }
}
