//! What a deployment was asked to be: its part of `kennel.toml`, frozen.

use serde::{Deserialize, Serialize};

use crate::config::{ProgramManifest, ServiceManifest, SiteManifest, TimerManifest};
use crate::{HostName, OutputKind};

/// The settings that a deployment keeps in its row, so that it can be started again at boot, or
/// come back, without git or Nix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Settings {
    /// Of a service.
    Service(ServiceManifest),
    /// Of a worker.
    Worker(ProgramManifest),
    /// Of a timer.
    Timer(TimerManifest),
    /// Of a static site.
    Site(SiteManifest),
}

impl Settings {
    /// Service, worker, timer or site.
    #[must_use]
    pub fn kind(&self) -> OutputKind {
        match self {
            Self::Service(_) => OutputKind::Service,
            Self::Worker(_) => OutputKind::Worker,
            Self::Timer(_) => OutputKind::Timer,
            Self::Site(_) => OutputKind::Site,
        }
    }

    /// The program that runs, if one does.
    #[must_use]
    pub fn program(&self) -> Option<&ProgramManifest> {
        match self {
            Self::Service(service) => Some(&service.program),
            Self::Worker(worker) => Some(worker),
            Self::Timer(timer) => Some(&timer.program),
            Self::Site(_) => None,
        }
    }

    /// The domain of its own that it asks for.
    #[must_use]
    pub fn custom_domain(&self) -> Option<&HostName> {
        match self {
            Self::Service(service) => service.custom_domain.as_ref(),
            Self::Worker(_) | Self::Timer(_) => None,
            Self::Site(site) => site.custom_domain.as_ref(),
        }
    }
}
