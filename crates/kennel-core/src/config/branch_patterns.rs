//! Which branches deploy.

use serde::Deserialize;
use wildmatch::WildMatch;

use crate::{Branch, Invalid};

/// The operator's patterns, and the default branch, which always deploys. `*` stands for any
/// text, `/` included, and `?` for any one character.
#[derive(Debug, Clone, PartialEq)]
pub struct BranchPatterns {
    default_branch: Branch,
    patterns: Vec<WildMatch>,
}

/// One pattern, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct BranchPattern(String);

impl BranchPattern {
    pub(super) fn matches(&self, branch: &Branch) -> bool {
        WildMatch::new(&self.0).matches(branch.as_str())
    }

    /// How much it says: of two that match a branch, the longer one is meant.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 244 {
            return Err("it has not 1 to 244 characters");
        }
        if text.chars().any(|c| c.is_control() || " ~^:[\\".contains(c)) {
            return Err(
                "no branch can match it: git allows no spaces, control characters or ~^:[\\",
            );
        }
        if text.starts_with("refs/heads/") {
            return Err("write the branch without refs/heads/");
        }
        Ok(())
    }
}

impl TryFrom<String> for BranchPattern {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match Self::check(&text) {
            Ok(()) => Ok(Self(text)),
            Err(rule) => Err(Invalid::new("pattern for branches", &text, rule)),
        }
    }
}

impl BranchPatterns {
    pub(super) fn new(default_branch: Branch, patterns: Option<Vec<BranchPattern>>) -> Self {
        let patterns = match patterns {
            Some(patterns) => patterns.iter().map(|p| WildMatch::new(&p.0)).collect(),
            None => vec![WildMatch::new("*")],
        };
        Self { default_branch, patterns }
    }

    /// Whether a push to this branch deploys.
    #[must_use]
    pub fn matches(&self, branch: &Branch) -> bool {
        *branch == self.default_branch
            || self.patterns.iter().any(|pattern| pattern.matches(branch.as_str()))
    }
}
