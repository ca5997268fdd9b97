//! What a domain, a route and a certificate are for: one host, or all below a domain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{HostName, Invalid};

/// One host, or all hosts one label below a domain, which is how far a wildcard certificate reaches
/// (RFC 9525 §6.3). Wildcards come first in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `*.` and this domain.
    Wildcard(HostName),
    /// This host alone.
    Host(HostName),
}

/// What stands for `*` in a file's name. No host name begins so.
const WILDCARD_FILE: &str = "_.";

impl HostPattern {
    /// The host, or the domain whose hosts they are: what is proven to a certificate authority
    /// (RFC 8555 §7.1.4).
    #[must_use]
    pub fn domain(&self) -> &HostName {
        match self {
            Self::Wildcard(domain) | Self::Host(domain) => domain,
        }
    }

    /// The wildcard that would be for this host too; none for a name of one label, nor for a wildcard.
    #[must_use]
    pub fn wildcard_above(&self) -> Option<Self> {
        let Self::Host(host) = self else { return None };
        let (_label, parent) = host.as_str().split_once('.')?;
        parent.parse().ok().map(Self::Wildcard)
    }

    /// Whether it is for the host.
    #[must_use]
    pub fn covers(&self, host: &HostName) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Wildcard(_) => Self::Host(host.clone()).wildcard_above().as_ref() == Some(self),
        }
    }

    /// The name of its file without `.pem`; a shell's `*` must not stand in it.
    #[must_use]
    pub fn file_stem(&self) -> String {
        match self {
            Self::Host(host) => host.to_string(),
            Self::Wildcard(domain) => format!("{WILDCARD_FILE}{domain}"),
        }
    }

    /// The reverse of [`HostPattern::file_stem`]; none if it is no such name.
    #[must_use]
    pub fn from_file_stem(stem: &str) -> Option<Self> {
        match stem.strip_prefix(WILDCARD_FILE) {
            Some(domain) => domain.parse().ok().map(Self::Wildcard),
            None => stem.parse().ok().map(Self::Host),
        }
    }
}

impl From<HostName> for HostPattern {
    fn from(host: HostName) -> Self {
        Self::Host(host)
    }
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix("*.") {
            Some(domain) => domain.parse().map(Self::Wildcard),
            None => text.parse().map(Self::Host),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(name: HostPattern) -> Self {
        name.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, stem) in [("a.example", "a.example"), ("*.a.example", "_.a.example")] {
            let name: HostPattern = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.file_stem().as_str()), (text, stem));
            assert_eq!(HostPattern::from_file_stem(stem), Some(name));
        }
        for bad in ["*.*.a", "a.*.b", "*", "*.", "_.a"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        assert_eq!(HostPattern::from_file_stem("*.a.example"), None);
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let wildcard: HostPattern = "*.a.example".parse().unwrap();
        let host = |text: &str| text.parse::<HostName>().unwrap();
        assert!(wildcard.covers(&host("x.a.example")));
        for other in ["a.example", "y.x.a.example", "b.example", "example"] {
            assert!(!wildcard.covers(&host(other)), "{other}");
        }
    }
}
