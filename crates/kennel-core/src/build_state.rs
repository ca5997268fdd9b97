//! The life of a build.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, WrongTurn};

/// Where a build is: `queued → building → succeeded | partial | failed | cancelled | superseded`.
/// A stranger's begins as `waiting_for_approval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// A stranger's commit, which is not built before somebody has approved it.
    WaitingForApproval,
    /// Waits for a slot.
    Queued,
    /// `kennel-build@<id>.service` has claimed it.
    Building,
    /// Every output has a store path.
    Succeeded,
    /// Some outputs have a store path, others a reason.
    Partial,
    /// No output has a store path.
    Failed,
    /// A person ended it.
    Cancelled,
    /// A newer commit of the same ref came first.
    Superseded,
}

/// What happens to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildEvent {
    /// A person lets a stranger's commit be built.
    Approved,
    /// The job begins.
    Claimed,
    /// All outputs were built.
    Succeeded,
    /// Some were, some were not.
    PartlyFailed,
    /// None was, or the build could not even begin.
    Failed,
    /// The host went down or Kennel was stopped in the middle: it runs again and costs no attempt.
    Interrupted,
    /// A person wants it to end.
    Cancelled,
    /// A newer commit of the same ref arrived.
    Superseded,
}

impl BuildState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::WaitingForApproval,
        Self::Queued,
        Self::Building,
        Self::Succeeded,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`WrongTurn`] where there is no such arrow: whoever asks looked at an old row.
    pub fn step(self, event: BuildEvent) -> Result<Self, WrongTurn> {
        Ok(match (self, event) {
            (Self::WaitingForApproval, BuildEvent::Approved) => Self::Queued,
            (Self::Queued, BuildEvent::Claimed) => Self::Building,
            (Self::Building, BuildEvent::Succeeded) => Self::Succeeded,
            (Self::Building, BuildEvent::PartlyFailed) => Self::Partial,
            (Self::Building, BuildEvent::Failed) => Self::Failed,
            (Self::Building, BuildEvent::Interrupted) => Self::Queued,
            (Self::WaitingForApproval | Self::Queued | Self::Building, BuildEvent::Cancelled) => {
                Self::Cancelled
            }
            (Self::WaitingForApproval | Self::Queued | Self::Building, BuildEvent::Superseded) => {
                Self::Superseded
            }
            (from, event) => {
                return Err(WrongTurn {
                    thing: "build",
                    from: from.as_str(),
                    event: event.as_str(),
                });
            }
        })
    }

    /// Whether nothing happens to it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::WaitingForApproval | Self::Queued | Self::Building => false,
            Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled | Self::Superseded => {
                true
            }
        }
    }

    /// The word in the database and in output for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WaitingForApproval => "waiting_for_approval",
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }
}

impl BuildEvent {
    /// Every event.
    pub const ALL: [Self; 8] = [
        Self::Approved,
        Self::Claimed,
        Self::Succeeded,
        Self::PartlyFailed,
        Self::Failed,
        Self::Interrupted,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// The state that it is meant to lead to, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "queued",
            Self::Claimed => "building",
            Self::Succeeded => "succeeded",
            Self::PartlyFailed => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "queued",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for BuildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BuildState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("state of a build", text, "no state has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of state and event, compared whole: an arrow added or lost shows here.
    #[test]
    fn arrows() {
        let mut table = String::new();
        for state in BuildState::ALL {
            for event in BuildEvent::ALL {
                if let Ok(next) = state.step(event) {
                    table.push_str(&format!("{state} --{event:?}--> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table, @r"
        waiting_for_approval --Approved--> queued
        waiting_for_approval --Cancelled--> cancelled
        waiting_for_approval --Superseded--> superseded
        queued --Claimed--> building
        queued --Cancelled--> cancelled
        queued --Superseded--> superseded
        building --Succeeded--> succeeded
        building --PartlyFailed--> partial
        building --Failed--> failed
        building --Interrupted--> queued
        building --Cancelled--> cancelled
        building --Superseded--> superseded
        ");
    }

    #[test]
    fn a_wrong_turn_says_from_where() {
        let error = BuildState::Cancelled.step(BuildEvent::Failed).unwrap_err();
        insta::assert_snapshot!(error, @"a build that is cancelled cannot become failed");
    }

    #[test]
    fn words_round_trip() {
        for state in BuildState::ALL {
            assert_eq!(state.as_str().parse::<BuildState>().unwrap(), state);
        }
    }
}
