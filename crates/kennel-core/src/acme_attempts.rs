//! What kennel-acme remembers of orders that failed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{HostPattern, Timestamp};

/// The failures, as they are kept in a file that everybody may read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeAttempts {
    /// Until when the certificate authority wants to be left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// By name.
    #[serde(default)]
    pub names: BTreeMap<HostPattern, AcmeAttempt>,
}

/// The last order for a name, which failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeAttempt {
    /// How many have failed one after the other.
    pub failures: u32,
    /// When this one did.
    pub at: Timestamp,
    /// When the next is tried.
    pub next: Timestamp,
    /// The certificate authority's own words, or what this host has seen.
    pub why: String,
}
