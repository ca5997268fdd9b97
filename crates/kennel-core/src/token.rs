//! Tokens of the API: what they are called, and what they allow.
//!
//! Never the token itself, which nothing keeps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::name::check_label;
use crate::newtype::text_newtype;

/// What a token is called, in lists and in the audit, and as a file.
///
/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 40 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    fn check(text: &str) -> Result<(), &'static str> {
        check_label(text)?;
        if text.len() > 40 {
            return Err("it is longer than 40 characters");
        }
        Ok(())
    }
}

text_newtype!(TokenName, "token's name");

/// What a token allows. With its projects to look at builds, and to cancel them as well; or to read
/// figures, which are the whole host's and of no project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRight {
    /// To read the router's figures, and nothing else.
    Metrics,
    /// To look at builds.
    Read,
    /// To cancel them, too.
    Cancel,
}

impl TokenRight {
    /// All there are, the smallest first.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Read, Self::Cancel];

    /// The word in files and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for TokenRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenRight {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|right| right.as_str() == text).ok_or_else(|| {
            Invalid::new("token's right", text, "it is neither metrics, read nor cancel")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_rights_grow() {
        for right in TokenRight::ALL {
            assert_eq!(right.as_str().parse::<TokenRight>().unwrap(), right);
            assert_eq!(serde_json::to_value(right).unwrap(), right.as_str());
        }
        assert!(TokenRight::Metrics < TokenRight::Read && TokenRight::Read < TokenRight::Cancel);
    }

    #[test]
    fn a_name_is_no_path() {
        assert!("ci-2".parse::<TokenName>().is_ok());
        for name in ["", "..", "a/b", ".ci.new", "CI"] {
            assert!(name.parse::<TokenName>().is_err(), "{name}");
        }
    }
}
