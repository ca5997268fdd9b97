//! Where a deployment comes from: a branch, or a pull request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Branch, Invalid};

/// The full git ref that a build fetches and a deployment belongs to.
///
/// Branch `pr-5` (`refs/heads/pr-5`) and pull request 5 (`refs/pull/5/head`) are different values
/// with different texts, so they never meet in a row, a name or a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GitRef {
    /// `refs/heads/<branch>`.
    Branch(Branch),
    /// `refs/pull/<number>/head`, in the base repository.
    PullRequest(u64),
}

impl GitRef {
    /// The name for people: the branch as git has it, or `pr-<number>`.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Branch(branch) => branch.to_string(),
            Self::PullRequest(number) => format!("pr-{number}"),
        }
    }

    /// Whether this is the given branch. A pull request never is.
    #[must_use]
    pub fn is_branch(&self, branch: &Branch) -> bool {
        matches!(self, Self::Branch(own) if own == branch)
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(branch) => write!(f, "refs/heads/{branch}"),
            Self::PullRequest(number) => write!(f, "refs/pull/{number}/head"),
        }
    }
}

impl FromStr for GitRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(branch) = text.strip_prefix("refs/heads/") {
            return Ok(Self::Branch(branch.parse()?));
        }
        text.strip_prefix("refs/pull/")
            .and_then(|rest| rest.strip_suffix("/head"))
            .and_then(|number| number.parse().ok())
            .filter(|number| *number > 0)
            .map(Self::PullRequest)
            .ok_or_else(|| {
                Invalid::new("git ref", text, "neither refs/heads/<branch> nor refs/pull/<n>/head")
            })
    }
}

impl TryFrom<String> for GitRef {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<GitRef> for String {
    fn from(git_ref: GitRef) -> String {
        git_ref.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_called_pr_5_is_not_pull_request_5() {
        let branch: GitRef = "refs/heads/pr-5".parse().unwrap();
        let pull_request: GitRef = "refs/pull/5/head".parse().unwrap();
        assert_ne!(branch, pull_request);
        assert_eq!(branch.short(), pull_request.short());
        assert_eq!(pull_request.to_string(), "refs/pull/5/head");
    }

    #[test]
    fn nothing_else_is_a_ref() {
        for bad in
            ["main", "refs/tags/v1", "refs/pull/0/head", "refs/pull/x/head", "refs/pull/5/merge"]
        {
            assert!(bad.parse::<GitRef>().is_err(), "{bad}");
        }
    }
}
