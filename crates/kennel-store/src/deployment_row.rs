//! Deployments, as rows have them.

use std::collections::BTreeSet;

use kennel_core::{
    BuildId, CommitSha, DeploymentId, DeploymentState, EventId, HostName, OutputKey, OutputKind,
    Port, Settings, StorePath, Timestamp, UnitName, slice_name,
};
use rusqlite::Row;

use crate::StoreError;
use crate::column::{moment, parsed};
use crate::names::Names;

/// The columns of a deployment, with its port.
pub(crate) const SELECT: &str = "SELECT deployments.*, port FROM deployments
    LEFT JOIN ports ON ports.deployment_id = deployments.id";

/// A deployment that is to be made.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// The inbox row that asks for it. Higher ones are newer, and win.
    pub request: EventId,
    /// The build that made it.
    pub build: BuildId,
    /// Which service or site of which branch.
    pub key: OutputKey,
    /// The commit.
    pub sha: CommitSha,
    /// What Nix made.
    pub store_path: StorePath,
    /// Its part of `kennel.toml`.
    pub settings: Settings,
    /// Whether the commit comes from outside of the repository.
    pub fork: bool,
    /// The earlier deployment that it is to be once more, if it is a way back.
    pub rollback_to: Option<DeploymentId>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The row, and the instance of its units.
    pub id: DeploymentId,
    /// The inbox row that asked for it.
    pub request: EventId,
    /// The build that made it.
    pub build: BuildId,
    /// Which service or site of which branch.
    pub key: OutputKey,
    /// What it is called on the host.
    pub names: Names,
    /// The commit.
    pub sha: CommitSha,
    /// What it runs or serves.
    pub store_path: StorePath,
    /// Its part of `kennel.toml`.
    pub settings: Settings,
    /// Whether the commit comes from outside of the repository: it gets no secrets, and less of the
    /// host.
    pub fork: bool,
    /// The earlier deployment that this one is once more, if it is a way back.
    pub rollback_to: Option<DeploymentId>,
    /// Whether its release program has run.
    pub released: bool,
    /// Where it is.
    pub state: DeploymentState,
    /// Why it is where it is, in words.
    pub reason: Option<String>,
    /// Whether the route table shall have it.
    pub routed: bool,
    /// Whether, having never served, it has left nothing on the host.
    pub cleaned: bool,
    /// How often its unit vanished without a word.
    pub losses: u32,
    /// The port that is reserved for it.
    pub port: Option<Port>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it began to serve.
    pub active_at: Option<Timestamp>,
    /// Until when it may finish what it had begun.
    pub drain_until: Option<Timestamp>,
    /// When it ended, however it did.
    pub ended_at: Option<Timestamp>,
}

impl Deployment {
    /// The service's own unit. A site has none, but its name is still its own.
    #[must_use]
    pub fn unit(&self) -> UnitName {
        UnitName::of_deployment(&self.key.project, &self.names.slug, &self.key.service, self.id)
    }

    /// The unit of its release program, which a service may have.
    #[must_use]
    pub fn release_unit(&self) -> UnitName {
        UnitName::of_release(&self.key.project, &self.names.slug, &self.key.service, self.id)
    }

    /// The unit that starts a timer's own at its times.
    #[must_use]
    pub fn timer_unit(&self) -> UnitName {
        UnitName::of_timer(&self.key.project, &self.names.slug, &self.key.service, self.id)
    }

    /// The unit that starts a sleeping service when somebody asks for it.
    #[must_use]
    pub fn wake_unit(&self) -> UnitName {
        UnitName::of_wake(&self.key.project, &self.names.slug, &self.key.service, self.id)
    }

    /// The unit that is active as long as the deployment is: a timer's own ends with each run.
    #[must_use]
    pub fn lasting_unit(&self) -> UnitName {
        match self.settings.kind() {
            OutputKind::Timer => self.timer_unit(),
            OutputKind::Service | OutputKind::Worker | OutputKind::Site => self.unit(),
        }
    }

    /// The units that have a file for as long as the deployment serves.
    #[must_use]
    pub fn units(&self) -> BTreeSet<UnitName> {
        BTreeSet::from([self.unit(), self.lasting_unit()])
    }

    /// The slices that it shares with others, its project's and its branch's. They have files.
    #[must_use]
    pub fn shared_slices(&self) -> [UnitName; 2] {
        let project = &self.key.project;
        [slice_name(project, None, None), slice_name(project, Some(&self.names.slug), None)]
    }

    /// Its host under the base domain.
    ///
    /// # Errors
    /// [`StoreError::Row`] if the whole name is longer than DNS allows.
    pub fn host(&self, base: &HostName) -> Result<HostName, StoreError> {
        self.names.host(&self.key.project, base)
    }
}

pub(crate) fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let settings: String = row.get("settings")?;
    let settings = serde_json::from_str(&settings).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let port: Option<u16> = row.get("port")?;
    Ok(Deployment {
        id: DeploymentId::from_row(row.get("id")?),
        request: EventId::from_row(row.get("request_id")?),
        build: BuildId::from_row(row.get("build_id")?),
        key: OutputKey {
            project: parsed(row, "project")?,
            git_ref: parsed(row, "git_ref")?,
            service: parsed(row, "service")?,
        },
        names: Names {
            slug: parsed(row, "slug")?,
            user: parsed(row, "user")?,
            label: row.get("label")?,
        },
        sha: parsed(row, "sha")?,
        store_path: parsed(row, "store_path")?,
        settings,
        fork: row.get("fork")?,
        released: row.get("released")?,
        rollback_to: row.get::<_, Option<i64>>("rollback_to")?.map(DeploymentId::from_row),
        state: parsed(row, "state")?,
        reason: row.get("reason")?,
        routed: row.get("routed")?,
        cleaned: row.get("cleaned")?,
        losses: row.get("losses")?,
        port: port.and_then(|port| Port::try_from(port).ok()),
        created_at: Timestamp::from_millis(row.get("created_at")?),
        active_at: moment(row, "active_at")?,
        drain_until: moment(row, "drain_until")?,
        ended_at: moment(row, "ended_at")?,
    })
}
