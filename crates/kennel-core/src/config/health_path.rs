//! The path that says whether a service is well.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A path on the service itself, asked with GET and expected to answer 200. Begins with one `/`,
/// at most 200 bytes of what RFC 3986 §3.3 and §3.4 allow in a path and query, without
/// percent-encoding and without a segment `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HealthPath(String);

impl Default for HealthPath {
    /// `/health`.
    fn default() -> Self {
        Self("/health".to_owned())
    }
}

impl HealthPath {
    fn check(text: &str) -> Result<(), &'static str> {
        if !text.starts_with('/') {
            return Err("it does not begin with `/`");
        }
        if text.starts_with("//") {
            return Err("it begins with `//`, which names a host");
        }
        if text.len() > 200 {
            return Err("it is longer than 200 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/?-._~!$&'()*+,;=:@".contains(&b)) {
            return Err("only a-z, A-Z, 0-9 and /?-._~!$&'()*+,;=:@ may stand in it");
        }
        if text.split(['/', '?']).any(|segment| segment == "..") {
            return Err("it has a segment `..`");
        }
        Ok(())
    }
}

text_newtype!(HealthPath, "health check path");
