//! A build as the API shows it: the keys of `kennelctl builds --json`.

use kennel_core::{BuildId, BuildState, CommitSha, GitRef, ProjectName, Timestamp};
use kennel_store::Build;
use serde::{Serialize, Serializer};

/// One build. The fields are the keys of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BuildView {
    id: BuildId,
    project: ProjectName,
    branch: String,
    #[serde(rename = "ref")]
    git_ref: GitRef,
    commit: CommitSha,
    state: BuildState,
    reason: Option<String>,
    by: Option<String>,
    #[serde(serialize_with = "moment")]
    received_at: Timestamp,
    #[serde(serialize_with = "moment")]
    queued_at: Timestamp,
    #[serde(serialize_with = "maybe_moment")]
    started_at: Option<Timestamp>,
    #[serde(serialize_with = "maybe_moment")]
    finished_at: Option<Timestamp>,
    cancel_requested: bool,
    superseded_by: Option<BuildId>,
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
        }
    }
}

fn moment<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_millisecond(time.millis()) {
        Ok(moment) => to.collect_str(&format_args!("{moment:.3}")),
        // Out of range is only what no clock says.
        Err(_) => to.collect_str(&time.millis()),
    }
}

fn maybe_moment<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => moment(time, to),
        None => to.serialize_none(),
    }
}
