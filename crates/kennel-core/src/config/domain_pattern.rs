//! Which custom domains a project may claim.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;
use crate::{HostName, HostPattern};

/// A host name for exactly that name, or `*.` and a host name for every name below it, at any
/// depth, but not for the name itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPattern(String);

impl DomainPattern {
    /// Whether this pattern is for all of `claimed`.
    #[must_use]
    pub fn allows(&self, claimed: &HostPattern) -> bool {
        match (self.0.strip_prefix("*."), claimed) {
            (Some(domain), HostPattern::Host(host)) => host.is_below(domain),
            (Some(domain), HostPattern::Wildcard(above)) => {
                above.as_str() == domain || above.is_below(domain)
            }
            (None, HostPattern::Host(host)) => host.as_str() == self.0,
            (None, HostPattern::Wildcard(_)) => false,
        }
    }

    fn check(text: &str) -> Result<(), &'static str> {
        text.strip_prefix("*.").unwrap_or(text).parse::<HostName>().map(drop).map_err(|e| e.rule)
    }
}

text_newtype!(DomainPattern, "domain pattern");
