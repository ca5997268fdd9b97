//! How long something stays that nobody uses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::Period;
use crate::Invalid;

/// A [`Period`], or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Lifetime {
    /// It goes when nobody has used it for so long.
    Limited(Duration),
    /// It stays.
    Unlimited,
}

impl Lifetime {
    /// The word for [`Lifetime::Unlimited`].
    const NEVER: &'static str = "never";

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
