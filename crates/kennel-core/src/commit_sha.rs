//! A commit's full id.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A commit: 40 (SHA-1) or 64 (SHA-256 repositories) lower-case hex digits, not all zero.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitSha(String);

impl CommitSha {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.len() != 40 && text.len() != 64 {
            return Err("it has neither 40 nor 64 digits");
        }
        if !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err("only 0-9 and a-f may stand in it");
        }
        if Self::is_zero(text) {
            return Err("all digits are zero, which says that there is no commit");
        }
        Ok(())
    }

    /// Whether a forge means "no commit" by this id, as in a branch's deletion.
    #[must_use]
    pub fn is_zero(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b == b'0')
    }

    /// The first 12 digits: enough for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

text_newtype!(CommitSha, "commit id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_and_nothing_else() {
        assert!("a".repeat(40).parse::<CommitSha>().is_ok());
        assert!("a".repeat(64).parse::<CommitSha>().is_ok());
        for bad in ["a".repeat(39), "A".repeat(40), "0".repeat(40), "0".repeat(64), "g".repeat(40)]
        {
            assert!(bad.parse::<CommitSha>().is_err(), "{bad}");
        }
    }
}
