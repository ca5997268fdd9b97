//! What a person did to Kennel, as one word.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::Invalid;

/// What a person did: the kinds of rows of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let a stranger's commit be built.
    Approve,
    /// Ended a build, or what is made of it.
    Cancel,
    /// Deployed again what was built last.
    Redeploy,
    /// Had the last commit built again.
    Rebuild,
    /// Had an earlier deployment serve again.
    RollBack,
    /// Kept pushes from deploying.
    Pin,
    /// Let pushes deploy again.
    Unpin,
    /// Showed visitors a page that something is under maintenance.
    MaintenanceOn,
    /// Let visitors in again.
    MaintenanceOff,
    /// Had a branch stay for longer.
    Extend,
    /// Removed deployments.
    TearDown,
    /// Set a secret.
    SecretSet,
    /// Removed a secret.
    SecretRemoved,
    /// Made a token of the API.
    TokenCreated,
    /// Took a token of the API back.
    TokenRevoked,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 15] = [
        Self::Approve,
        Self::Cancel,
        Self::Redeploy,
        Self::Rebuild,
        Self::RollBack,
        Self::Pin,
        Self::Unpin,
        Self::MaintenanceOn,
        Self::MaintenanceOff,
        Self::Extend,
        Self::TearDown,
        Self::SecretSet,
        Self::SecretRemoved,
        Self::TokenCreated,
        Self::TokenRevoked,
    ];

    /// The word in databases and in output for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Cancel => "cancel",
            Self::Redeploy => "redeploy",
            Self::Rebuild => "rebuild",
            Self::RollBack => "roll_back",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::MaintenanceOn => "maintenance_on",
            Self::MaintenanceOff => "maintenance_off",
            Self::Extend => "extend",
            Self::TearDown => "tear_down",
            Self::SecretSet => "secret_set",
            Self::SecretRemoved => "secret_removed",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| Invalid::new("person's action", text, "no action has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().unwrap(), action);
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
    }
}
