//! What a deployment was asked to be: its part of `kennel.toml`, frozen.

use serde::{Deserialize, Serialize};

use crate::OutputKind;
use crate::config::{
    Addresses, ProgramManifest, RequestLimits, ServiceManifest, SiteManifest, TimerManifest,
};

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

    /// Where it wants to be reached, if anybody calls it.
    #[must_use]
    pub fn addresses(&self) -> Option<&Addresses> {
        match self {
            Self::Service(service) => Some(&service.addresses),
            Self::Worker(_) | Self::Timer(_) => None,
            Self::Site(site) => Some(&site.addresses),
        }
    }

    /// What it takes of requests.
    #[must_use]
    pub fn request_limits(&self) -> RequestLimits {
        match self {
            Self::Service(service) => service.requests,
            Self::Worker(_) | Self::Timer(_) => RequestLimits::default(),
            Self::Site(site) => {
                RequestLimits { rate_limit: site.rate_limit, ..RequestLimits::default() }
            }
        }
    }
}
