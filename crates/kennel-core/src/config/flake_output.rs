//! The name of what a flake builds.

use serde::{Deserialize, Serialize};

use crate::ServiceName;
use crate::newtype::text_newtype;

/// The part of `packages.<system>.<output>` that a repository chooses:
/// `[A-Za-z0-9_][A-Za-z0-9_.+-]*`, at most 100 bytes, no `..` and no final dot. A dot leads into
/// a set of packages.
///
/// It becomes part of a flake reference, so `#`, `^`, `?`, `%`, quotes and the like are refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlakeOutput(String);

impl FlakeOutput {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 100 {
            return Err("it has not 1 to 100 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b)) {
            return Err("only a-z, A-Z, 0-9 and _.+- may stand in it");
        }
        if text.starts_with(['.', '+', '-']) {
            return Err("it begins with `.`, `+` or `-`");
        }
        if text.contains("..") || text.ends_with('.') {
            return Err("it has an empty part between dots");
        }
        Ok(())
    }
}

impl From<&ServiceName> for FlakeOutput {
    /// The default: the output is called like the service. Every service name is a valid output.
    fn from(name: &ServiceName) -> Self {
        Self(name.to_string())
    }
}

text_newtype!(FlakeOutput, "flake output");
