//! One deployment in the report.

use kennel_core::{
    BuildId, CommitSha, DeploymentId, DeploymentState, GitRef, OutputKind, Port, ProjectName,
    ServiceName, Timestamp, UnitName,
};
use kennel_store::Deployment;
use serde::Serialize;

use super::health::{Health, Verdict};
use super::monitor::Seen;
use crate::{clock, say};

/// One deployment. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) id: DeploymentId,
    project: ProjectName,
    branch: String,
    #[serde(rename = "ref")]
    git_ref: GitRef,
    name: ServiceName,
    kind: OutputKind,
    pub(crate) state: DeploymentState,
    /// Whether it waits because somebody has pinned what serves.
    pub(crate) held: bool,
    pub(crate) health: Option<Health>,
    health_detail: Option<String>,
    /// What the router has seen of it; none if it does not look after it.
    pub(crate) monitor: Option<Seen>,
    pub(crate) urls: Vec<String>,
    pub(crate) commit: CommitSha,
    build: BuildId,
    port: Option<Port>,
    /// None for a site.
    unit: Option<UnitName>,
    /// Since when it serves; since when there is a deployment, if it does not.
    #[serde(serialize_with = "clock::serialize")]
    pub(crate) since: Timestamp,
    /// When its branch expires, unless somebody pushes to it or visits it.
    #[serde(serialize_with = "clock::serialize_maybe")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(serialize_with = "clock::serialize_maybe")]
    pub(crate) drain_until: Option<Timestamp>,
    pub(crate) reason: Option<String>,
}

impl Line {
    pub(crate) fn new(
        it: &Deployment,
        held: bool,
        urls: Vec<String>,
        verdict: Option<&Verdict>,
    ) -> Self {
        let kind = it.settings.kind();
        let since = match it.state {
            DeploymentState::Failed => it.ended_at,
            _ => it.active_at,
        };
        Self {
            id: it.id,
            project: it.key.project.clone(),
            branch: it.key.git_ref.short(),
            git_ref: it.key.git_ref.clone(),
            name: it.key.service.clone(),
            kind,
            state: it.state,
            held,
            health: verdict.map(|verdict| verdict.health),
            health_detail: verdict.and_then(|verdict| verdict.detail.clone()),
            monitor: None,
            urls,
            commit: it.sha.clone(),
            build: it.build,
            port: it.port,
            unit: kind.has_unit().then(|| it.lasting_unit()),
            since: since.unwrap_or(it.created_at),
            expires_at: None,
            drain_until: it.drain_until,
            reason: it.reason.clone(),
        }
    }

    /// `site/main/api`
    pub(crate) fn place(&self) -> String {
        format!("{}/{}/{}", self.project, self.branch, self.name)
    }

    /// What is wrong with a deployment that should serve.
    pub(crate) fn warning(&self, table_is_known: bool) -> Option<String> {
        if self.state != DeploymentState::Active {
            return None;
        }
        let detail = self.health_detail.as_deref().unwrap_or_default();
        match self.health {
            Some(Health::Unhealthy | Health::Down) if self.kind.has_unit() => {
                Some(say::program_unwell(&self.place(), self.kind, detail))
            }
            Some(Health::Unhealthy | Health::Down) => Some(say::site_unwell(&self.place(), detail)),
            Some(Health::Healthy | Health::Starting | Health::Asleep | Health::Unknown) | None => {
                (self.kind.is_routed() && table_is_known && self.urls.is_empty())
                    .then(|| say::not_routed(&self.place()))
            }
        }
    }
}
