//! The three forges.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Who sends the webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forge {
    /// Forgejo, which sends Gitea's and GitHub's headers too.
    Forgejo,
    /// Gitea, which sends GitHub's headers too.
    Gitea,
    /// GitHub.
    Github,
}

impl Forge {
    /// The word in configuration and database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
            Self::Github => "github",
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Forge {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Forgejo, Self::Gitea, Self::Github]
            .into_iter()
            .find(|forge| forge.as_str() == text)
            .ok_or_else(|| Invalid::new("forge", text, "Kennel knows forgejo, gitea and github"))
    }
}
