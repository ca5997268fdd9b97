//! A build as it is shown, to people and to programs.

use std::path::PathBuf;

use kennel_core::{
    BuildId, BuildState, CommitSha, GitRef, OutputKind, OutputState, ProjectName, ServiceName,
    StorePath, Timestamp,
};
use kennel_store::{Build, BuildOutput};
use serde::Serialize;

use crate::clock::{self, ago, took};
use crate::say;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, printable};

/// One build. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct BuildView {
    pub(crate) id: BuildId,
    pub(crate) project: ProjectName,
    pub(crate) branch: String,
    #[serde(rename = "ref")]
    git_ref: GitRef,
    pub(crate) commit: CommitSha,
    pub(crate) state: BuildState,
    pub(crate) reason: Option<String>,
    pub(crate) by: Option<String>,
    #[serde(serialize_with = "clock::serialize")]
    pub(crate) received_at: Timestamp,
    #[serde(serialize_with = "clock::serialize")]
    queued_at: Timestamp,
    #[serde(serialize_with = "clock::serialize_maybe")]
    started_at: Option<Timestamp>,
    #[serde(serialize_with = "clock::serialize_maybe")]
    pub(crate) finished_at: Option<Timestamp>,
    cancel_requested: bool,
    superseded_by: Option<BuildId>,
    /// Only where one build is shown.
    #[serde(flatten)]
    pub(crate) details: Option<Details>,
}

/// What one build made.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    pub(crate) outputs: Vec<OutputView>,
    pub(crate) logs: Vec<PathBuf>,
}

/// One output.
#[derive(Debug, Serialize)]
pub(crate) struct OutputView {
    pub(crate) name: ServiceName,
    pub(crate) kind: OutputKind,
    pub(crate) state: OutputState,
    pub(crate) store_path: Option<StorePath>,
    pub(crate) reason: Option<String>,
    #[serde(serialize_with = "clock::serialize_maybe")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(serialize_with = "clock::serialize_maybe")]
    pub(crate) finished_at: Option<Timestamp>,
}

impl From<Build> for BuildView {
    fn from(build: Build) -> Self {
        Self {
            id: build.id,
            project: build.project,
            branch: build.git_ref.short(),
            git_ref: build.git_ref,
            commit: build.sha,
            state: build.state,
            reason: build.reason,
            by: build.by,
            received_at: build.received_at,
            queued_at: build.queued_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
            cancel_requested: build.cancel_requested,
            superseded_by: build.superseded_by,
            details: None,
        }
    }
}

impl From<BuildOutput> for OutputView {
    fn from(output: BuildOutput) -> Self {
        Self {
            name: output.name,
            kind: output.kind,
            state: output.state,
            store_path: output.store_path,
            reason: output.reason,
            started_at: output.started_at,
            finished_at: output.finished_at,
        }
    }
}

impl BuildView {
    pub(crate) fn with(self, details: Details) -> Self {
        Self { details: Some(details), ..self }
    }

    /// `site/main`
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.project, self.branch)
    }

    /// How long it ran, until now if it still does.
    pub(crate) fn ran(&self, now: Timestamp) -> Option<std::time::Duration> {
        self.started_at.map(|started| self.finished_at.unwrap_or(now).since(started))
    }

    /// Why it is where it is, in one line; empty if nothing was said.
    pub(crate) fn because(&self) -> String {
        let reason = self.reason.as_deref().map(first_line);
        let newer = self.superseded_by.map(|newer| format!("build {newer} is newer"));
        let wish = (self.cancel_requested && !self.state.is_final())
            .then(|| "somebody wants it to end".to_owned());
        let approval = (self.state == BuildState::WaitingForApproval)
            .then(|| say::approval_awaited(&self.place()));
        reason.or(newer).or(wish).or(approval).unwrap_or_default()
    }
}

/// A build's state, coloured.
pub(crate) fn state_cell(state: BuildState) -> Cell {
    let colour = match state {
        BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => Colour::Busy,
        BuildState::Succeeded => Colour::Good,
        BuildState::Partial | BuildState::Failed => Colour::Bad,
        BuildState::Cancelled | BuildState::Superseded => Colour::Faint,
    };
    Cell::painted(state.as_str().replace('_', " "), colour)
}

/// Builds, one per line.
pub(crate) fn table(builds: &[BuildView], now: Timestamp) -> Table {
    let mut table = Table::new(&["BUILD", "BRANCH", "COMMIT", "STATE", "ASKED FOR", "RAN", "WHY"]);
    for build in builds {
        table.row(vec![
            Cell::new(build.id.to_string()),
            Cell::new(build.place()),
            Cell::new(build.commit.short()),
            state_cell(build.state),
            Cell::new(ago(build.received_at, now)),
            Cell::new(build.ran(now).map(took).unwrap_or_default()),
            Cell::new(build.because()),
        ]);
    }
    table
}

/// The first line of a reason, short enough for a table.
pub(crate) fn first_line(text: &str) -> String {
    const MOST: usize = 100;
    let line = printable(text.lines().next().unwrap_or_default());
    if line.chars().count() <= MOST {
        return line;
    }
    let short: String = line.chars().take(MOST - 1).collect();
    format!("{short}…")
}
