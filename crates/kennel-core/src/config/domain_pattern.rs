//! Which custom domains a project may claim.

use serde::{Deserialize, Serialize};

use crate::HostName;
use crate::newtype::text_newtype;

/// A host name for exactly that name, or `*.` and a host name for every name below it, at any
/// depth, but not for the name itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPattern(String);

impl DomainPattern {
    /// Whether this pattern is for `host`.
    #[must_use]
    pub fn allows(&self, host: &HostName) -> bool {
        match self.0.strip_prefix("*.") {
            Some(domain) => host
                .as_str()
                .strip_suffix(domain)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            None => host.as_str() == self.0,
        }
    }

    fn check(text: &str) -> Result<(), &'static str> {
        text.strip_prefix("*.").unwrap_or(text).parse::<HostName>().map(drop).map_err(|e| e.rule)
    }
}

text_newtype!(DomainPattern, "domain pattern");
