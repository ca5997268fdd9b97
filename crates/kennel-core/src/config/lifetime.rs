//! How long something stays that nobody uses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Period;
use crate::Invalid;

/// A [`Period`], or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Lifetime {
    /// It goes when nobody has used it for so long.
    Limited(Duration),
    /// It stays.
    Unlimited,
}

impl Lifetime {
    /// The word for [`Lifetime::Unlimited`].
    const NEVER: &'static str = "never";

    /// How long, if it is not for ever.
    #[must_use]
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Limited(length) => Some(length),
            Self::Unlimited => None,
        }
    }

    /// The shorter one of both.
    #[must_use]
    pub fn at_most(self, most: Duration) -> Duration {
        match self {
            Self::Limited(length) => length.min(most),
            Self::Unlimited => most,
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(length) => Period(*length).fmt(f),
            Self::Unlimited => f.write_str(Self::NEVER),
        }
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.to_string()
    }
}

impl FromStr for Lifetime {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == Self::NEVER {
            return Ok(Self::Unlimited);
        }
        let rule = "write it like 45s, 20m, 1h30m or 7d, or `never`";
        let period = text.parse().map_err(|_| Invalid::new("length of time", text, rule));
        period.map(|Period(length)| Self::Limited(length))
    }
}

impl TryFrom<String> for Lifetime {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}
