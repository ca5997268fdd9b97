//! What a build makes and a deployment deploys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{GitRef, Invalid, ProjectName, ServiceName};

/// One service or site on one branch of one project: what deployments follow each other in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputKey {
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// The service's or site's name in `kennel.toml`.
    pub service: ServiceName,
}

impl fmt::Display for OutputKey {
    /// As people type it: `site/main/api`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.git_ref.short(), self.service)
    }
}

/// What kind of thing an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// A program that listens on a port.
    Service,
    /// A program that nobody calls.
    Worker,
    /// A program that runs at its times.
    Timer,
    /// A folder of files.
    Site,
}

impl OutputKind {
    /// Whether it is a program, with a unit of its own.
    #[must_use]
    pub fn has_unit(self) -> bool {
        match self {
            Self::Service | Self::Worker | Self::Timer => true,
            Self::Site => false,
        }
    }

    /// Whether requests are led to it.
    #[must_use]
    pub fn is_routed(self) -> bool {
        match self {
            Self::Service | Self::Site => true,
            Self::Worker | Self::Timer => false,
        }
    }

    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Worker => "worker",
            Self::Timer => "timer",
            Self::Site => "site",
        }
    }
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Service, Self::Worker, Self::Timer, Self::Site]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                Invalid::new(
                    "kind of output",
                    text,
                    "it is neither service nor worker nor timer nor site",
                )
            })
    }
}

/// How far one output of a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputState {
    /// Not begun, or interrupted.
    Pending,
    /// Nix is at it.
    Building,
    /// There is a store path that a recent build of this output did not have.
    Built,
    /// There is a store path, and a recent build had it already.
    Unchanged,
    /// There is a reason.
    Failed,
}

impl OutputState {
    const ALL: [Self; 5] =
        [Self::Pending, Self::Building, Self::Built, Self::Unchanged, Self::Failed];

    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Built => "built",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }

    /// Whether there is a store path to deploy.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Built | Self::Unchanged => true,
            Self::Pending | Self::Building | Self::Failed => false,
        }
    }
}

impl fmt::Display for OutputState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("state of an output", text, "no state has this name"))
    }
}
