//! A share of processor time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Per cent of one processor, 1 to 100000: `200%` is two whole processors
/// (`CPUQuota=` in systemd.resource-control(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuQuota(u32);

impl CpuQuota {
    /// The default of the operator's limit: two processors.
    pub(super) const DEFAULT_LIMIT: Self = Self(200);

    /// The default of forks: one processor.
    pub(super) const FORKS_LIMIT: Self = Self(100);

    /// Per cent of one processor.
    #[must_use]
    pub fn percent(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuQuota {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |rule| Err(Invalid::new("processor quota", text, rule));
        let Some(number) = text.strip_suffix('%') else {
            return refuse("write it in per cent of one processor, like 100%");
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("write it in per cent of one processor, like 100%");
        }
        match number.parse() {
            Ok(percent @ 1..=100_000) => Ok(Self(percent)),
            Ok(_) | Err(_) => refuse("it is not between 1% and 100000%"),
        }
    }
}

impl TryFrom<String> for CpuQuota {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<CpuQuota> for String {
    fn from(quota: CpuQuota) -> String {
        quota.to_string()
    }
}

impl fmt::Display for CpuQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}
