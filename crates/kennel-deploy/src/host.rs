//! What every job of this program needs: the paths, the configuration, the state, systemd.

use std::path::PathBuf;
use std::time::SystemTime;

use kennel_core::config::HostConfig;
use kennel_core::{DeploymentId, Layout, Timestamp, UnitName};
use kennel_store::{Access, Deployment, State, load_host};
use kennel_systemd::Manager;

use crate::{DeployError, last_config};

/// The host as this program sees it.
#[derive(Debug)]
pub struct Host {
    /// Where everything lies.
    pub layout: Layout,
    /// The operator's configuration.
    pub config: HostConfig,
    /// What serves.
    pub state: State,
    /// systemd.
    pub manager: Manager,
}

impl Host {
    /// Opens everything.
    ///
    /// # Errors
    /// Any [`DeployError`].
    pub async fn open(layout: Layout) -> Result<Self, DeployError> {
        Self::with(layout, |layout| Ok(load_host(layout)?)).await
    }

    /// As [`Host::open`], with the configuration as it could be used last, if it ever could.
    ///
    /// # Errors
    /// Any [`DeployError`].
    pub async fn open_as_before(layout: Layout) -> Result<Option<Self>, DeployError> {
        match last_config::load(&layout)? {
            Some(config) => Self::with(layout, |_| Ok(config)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn with(
        layout: Layout,
        config: impl FnOnce(&Layout) -> Result<HostConfig, DeployError>,
    ) -> Result<Self, DeployError> {
        let connecting = Manager::connecting();
        Ok(Self {
            config: config(&layout)?,
            state: State::open(&layout.state_db(), Access::Patient)?,
            manager: connecting.await?,
            layout,
        })
    }

    /// The current time.
    pub(crate) fn now() -> Timestamp {
        SystemTime::now().into()
    }

    pub(crate) fn deployment(&self, id: DeploymentId) -> Result<Deployment, DeployError> {
        self.state.get(id)?.ok_or(DeployError::Unknown(id))
    }

    /// The file of a unit of Kennel's making.
    pub(crate) fn unit_file(&self, unit: &UnitName) -> PathBuf {
        self.config.unit_dir.join(unit.as_str())
    }
}
