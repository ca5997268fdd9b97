//! The life of a deployment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, WrongTurn};

/// Where a deployment is: `pending → starting → active → draining → retired → torn_down`, with
/// exits to `failed`, `superseded`, `unchanged`, `cancelled`, and from all of them through
/// `tearing_down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Waits for its turn.
    Pending,
    /// `kennel-deploy@<id>.service` has claimed it.
    Starting,
    /// Serves.
    Active,
    /// A newer one serves; this one finishes what it had begun.
    Draining,
    /// Stopped; its GC root and settings are kept for a way back.
    Retired,
    /// Everything that it left is being removed.
    TearingDown,
    /// Nothing of it is left but the row.
    TornDown,
    /// Never served; the reason is in the row.
    Failed,
    /// A newer one came before it began.
    Superseded,
    /// Never served: the one of before serves the same, and goes on.
    Unchanged,
    /// A person ended it.
    Cancelled,
}

/// What happens to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeploymentEvent {
    /// The job begins.
    Claimed,
    /// It is healthy and the router has it.
    Activated,
    /// A newer one serves in its place.
    Replaced,
    /// Its drain time is over and its process gone.
    Retired,
    /// It could not be made to serve.
    Failed,
    /// The host went down or Kennel was stopped in the middle: it runs again.
    Interrupted,
    /// A person stopped it.
    Cancelled,
    /// A newer one came before it began.
    Superseded,
    /// What it would serve is served already.
    Unchanged,
    /// Somebody wants it gone.
    TearDown,
    /// It is gone.
    TornDown,
}

impl DeploymentState {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Starting,
        Self::Active,
        Self::Draining,
        Self::Retired,
        Self::TearingDown,
        Self::TornDown,
        Self::Failed,
        Self::Superseded,
        Self::Unchanged,
        Self::Cancelled,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`WrongTurn`] where there is no such arrow: whoever asks looked at an old row.
    pub fn step(self, event: DeploymentEvent) -> Result<Self, WrongTurn> {
        use DeploymentEvent as On;
        Ok(match (self, event) {
            (Self::Pending, On::Claimed) => Self::Starting,
            (Self::Starting, On::Activated) => Self::Active,
            (Self::Active, On::Replaced) => Self::Draining,
            (Self::Draining, On::Retired) => Self::Retired,
            (Self::Pending | Self::Starting, On::Failed) => Self::Failed,
            (Self::Starting, On::Unchanged) => Self::Unchanged,
            (Self::Starting, On::Interrupted) => Self::Pending,
            (Self::Pending | Self::Starting, On::Cancelled) => Self::Cancelled,
            (Self::Pending | Self::Starting, On::Superseded) => Self::Superseded,
            // A retired one that is no longer kept is released straight away.
            (Self::TearingDown | Self::Retired, On::TornDown) => Self::TornDown,
            (
                Self::Pending
                | Self::Starting
                | Self::Active
                | Self::Draining
                | Self::Retired
                | Self::Failed
                | Self::Superseded
                | Self::Unchanged
                | Self::Cancelled,
                On::TearDown,
            ) => Self::TearingDown,
            (from, event) => {
                return Err(WrongTurn {
                    thing: "deployment",
                    from: from.as_str(),
                    event: event.as_str(),
                });
            }
        })
    }

    /// Whether it can hold a process, a port, a route or files outside of its GC root.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Pending | Self::Starting | Self::Active | Self::Draining | Self::TearingDown => {
                true
            }
            Self::Retired
            | Self::TornDown
            | Self::Failed
            | Self::Superseded
            | Self::Unchanged
            | Self::Cancelled => false,
        }
    }

    /// Whether it has given way and can be gone back to: it has its GC root and its settings.
    #[must_use]
    pub fn is_kept(self) -> bool {
        match self {
            Self::Draining | Self::Retired => true,
            Self::Pending
            | Self::Starting
            | Self::Active
            | Self::TearingDown
            | Self::TornDown
            | Self::Failed
            | Self::Superseded
            | Self::Unchanged
            | Self::Cancelled => false,
        }
    }

    /// The word in the database and in output for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::TearingDown => "tearing_down",
            Self::TornDown => "torn_down",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Unchanged => "unchanged",
            Self::Cancelled => "cancelled",
        }
    }
}

impl DeploymentEvent {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::Claimed,
        Self::Activated,
        Self::Replaced,
        Self::Retired,
        Self::Failed,
        Self::Interrupted,
        Self::Cancelled,
        Self::Superseded,
        Self::Unchanged,
        Self::TearDown,
        Self::TornDown,
    ];

    /// The state that it is meant to lead to, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "starting",
            Self::Activated => "active",
            Self::Replaced => "draining",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Interrupted => "pending",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Unchanged => "unchanged",
            Self::TearDown => "tearing_down",
            Self::TornDown => "torn_down",
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeploymentState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("state of a deployment", text, "no state has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of state and event, compared whole: an arrow added or lost shows here.
    #[test]
    fn arrows() {
        let mut table = String::new();
        for state in DeploymentState::ALL {
            for event in DeploymentEvent::ALL {
                if let Ok(next) = state.step(event) {
                    table.push_str(&format!("{state} --{event:?}--> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table, @r"
        pending --Claimed--> starting
        pending --Failed--> failed
        pending --Cancelled--> cancelled
        pending --Superseded--> superseded
        pending --TearDown--> tearing_down
        starting --Activated--> active
        starting --Failed--> failed
        starting --Interrupted--> pending
        starting --Cancelled--> cancelled
        starting --Superseded--> superseded
        starting --Unchanged--> unchanged
        starting --TearDown--> tearing_down
        active --Replaced--> draining
        active --TearDown--> tearing_down
        draining --Retired--> retired
        draining --TearDown--> tearing_down
        retired --TearDown--> tearing_down
        retired --TornDown--> torn_down
        tearing_down --TornDown--> torn_down
        failed --TearDown--> tearing_down
        superseded --TearDown--> tearing_down
        unchanged --TearDown--> tearing_down
        cancelled --TearDown--> tearing_down
        ");
    }

    #[test]
    fn words_round_trip() {
        for state in DeploymentState::ALL {
            assert_eq!(state.as_str().parse::<DeploymentState>().unwrap(), state);
        }
    }
}
