//! Builds and their outputs, as rows have them.

use kennel_core::{
    BuildId, BuildState, CommitSha, EventId, GitRef, OutputKind, OutputState, ProjectName,
    ServiceName, StorePath, Timestamp,
};
use rusqlite::Row;

use crate::column::{moment, parsed, parsed_or_null};

/// A build that is to be queued.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// The inbox row that asks for it.
    pub request: EventId,
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// The commit.
    pub sha: CommitSha,
    /// Who caused it, for display.
    pub by: Option<String>,
    /// When the forge told of it.
    pub received_at: Timestamp,
    /// Whether the commit comes from outside of the repository.
    pub fork: bool,
    /// Whether it waits until somebody approves it.
    pub needs_approval: bool,
}

/// What queueing a build did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The build.
    pub id: BuildId,
    /// Its state now.
    pub state: BuildState,
    /// Builds of the same ref that had not begun, and that it made superfluous.
    pub superseded: Vec<BuildId>,
    /// Older builds of the same ref that run now.
    pub running: Vec<BuildId>,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The row, and the unit's instance.
    pub id: BuildId,
    /// The inbox row that asked for it. Later rows are newer pushes.
    pub request: EventId,
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// The commit.
    pub sha: CommitSha,
    /// Who caused it, for display.
    pub by: Option<String>,
    /// When the forge told of it.
    pub received_at: Timestamp,
    /// When the dispatcher queued it.
    pub queued_at: Timestamp,
    /// When its unit first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Where it is.
    pub state: BuildState,
    /// Whether the commit comes from outside of the repository: what is made of it gets no secrets
    /// and less of the host.
    pub fork: bool,
    /// Who approved it, if somebody had to.
    pub approved_by: Option<String>,
    /// How often its unit vanished without a word.
    pub losses: u32,
    /// Whether somebody wants it to end.
    pub cancel_requested: bool,
    /// The newer build that makes it superfluous.
    pub superseded_by: Option<BuildId>,
    /// Why it is where it is, in words.
    pub reason: Option<String>,
    /// `kennel.toml` of the commit, once it was read.
    pub manifest: Option<String>,
}

/// One output of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// Its name in `kennel.toml`.
    pub name: ServiceName,
    /// Service or site.
    pub kind: OutputKind,
    /// How far it is.
    pub state: OutputState,
    /// What Nix made.
    pub store_path: Option<StorePath>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When Nix began.
    pub started_at: Option<Timestamp>,
    /// When Nix ended.
    pub finished_at: Option<Timestamp>,
}

/// Which builds to list.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Only this project's.
    pub project: Option<ProjectName>,
    /// Only of this branch or pull request.
    pub git_ref: Option<GitRef>,
    /// Only those in one of these states; all if there is none.
    pub states: Vec<BuildState>,
    /// Only those asked for at this moment or later.
    pub since: Option<Timestamp>,
    /// Only of commits that begin so: hex digits in lower case.
    pub commit: Option<String>,
    /// Only those that this person or account caused.
    pub by: Option<String>,
}

impl BuildFilter {
    /// Those that are not final.
    #[must_use]
    pub fn unfinished() -> Self {
        Self {
            states: BuildState::ALL.into_iter().filter(|state| !state.is_final()).collect(),
            ..Self::default()
        }
    }
}

pub(crate) fn build(row: &Row<'_>) -> rusqlite::Result<Build> {
    Ok(Build {
        id: BuildId::from_row(row.get("id")?),
        request: EventId::from_row(row.get("request_id")?),
        project: parsed(row, "project")?,
        git_ref: parsed(row, "git_ref")?,
        sha: parsed(row, "sha")?,
        by: row.get("by")?,
        received_at: Timestamp::from_millis(row.get("received_at")?),
        queued_at: Timestamp::from_millis(row.get("queued_at")?),
        started_at: moment(row, "started_at")?,
        finished_at: moment(row, "finished_at")?,
        state: parsed(row, "state")?,
        fork: row.get("fork")?,
        approved_by: row.get("approved_by")?,
        losses: row.get("losses")?,
        cancel_requested: row.get("cancel_requested")?,
        superseded_by: row.get::<_, Option<i64>>("superseded_by")?.map(BuildId::from_row),
        reason: row.get("reason")?,
        manifest: row.get("manifest")?,
    })
}

pub(crate) fn output(row: &Row<'_>) -> rusqlite::Result<BuildOutput> {
    Ok(BuildOutput {
        name: parsed(row, "name")?,
        kind: parsed(row, "kind")?,
        state: parsed(row, "state")?,
        store_path: parsed_or_null(row, "store_path")?,
        reason: row.get("reason")?,
        started_at: moment(row, "started_at")?,
        finished_at: moment(row, "finished_at")?,
    })
}
