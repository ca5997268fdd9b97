//! `ExecStopPost=`: writes the end of a build whose program could not.
//!
//! Kills nothing: by the time it runs, systemd has ended every process of the unit.

use std::path::PathBuf;
use std::time::Duration;

use kennel_core::{BuildEvent, BuildId, BuildState, Layout, OutputState, Timestamp, error_chain};
use kennel_store::{Access, Build, Builds, StoreError};
use kennel_systemd::{Manager, ManagerError, kill_point};
use tracing::{info, warn};

use crate::directories::Directories;
use crate::output_log::last_lines;
use crate::say;
use crate::verdict::{Ending, Marks, Verdict};

/// The row could not be settled; the dispatcher finds it without its unit and settles it.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// It was not systemd who asked.
    #[error(
        "$SERVICE_RESULT is not set: systemd runs this when a build's unit ends; to end a build, use `kennelctl cancel`"
    )]
    NotAfterUnit,
    /// The row cannot be read or written.
    #[error("cannot settle build {id}")]
    Store {
        /// Whose row.
        id: BuildId,
        /// Why.
        source: StoreError,
    },
}

/// A minute for the database ([`Access::Patient`]), and more for what is removed. Much longer than
/// `TimeoutStopSec=`, which is for programs that do not leave.
const PATIENCE: Duration = Duration::from_secs(90);

/// The lines of a log that a reason repeats.
const LAST_LINES: usize = 10;

/// Settles a build's row if its program has not, removes what the build no longer needs, and rings
/// the bell whatever happens. Returns the state in which the row is then.
///
/// # Errors
/// Any [`SettleError`].
pub fn settle(layout: &Layout, id: BuildId) -> Result<BuildState, SettleError> {
    let ending = Ending::from_environment().ok_or(SettleError::NotAfterUnit)?;
    kennel_systemd::extend_timeout(PATIENCE);
    let settled = settle_as(layout, id, &ending, going_down)
        .map_err(|source| SettleError::Store { id, source });
    if let Err(error) = kennel_systemd::ring(&layout.bell()) {
        warn!("{}", error_chain(&error));
    }
    settled
}

fn settle_as(
    layout: &Layout,
    id: BuildId,
    ending: &Ending,
    going_down: impl FnOnce() -> bool,
) -> Result<BuildState, StoreError> {
    let mut builds = Builds::open(&layout.builds_db(), Access::Patient)?;
    let build = builds.get(id)?.ok_or(StoreError::NoRow { thing: "build", id: id.get() })?;
    let directories = Directories::new(layout, &build.project, id);
    let state = if build.state.is_final() {
        build.state
    } else {
        kill_point!(BuildUnsettled, &build.project);
        let state = write_end(&mut builds, &build, &directories, ending, going_down)?;
        let reason = builds.get(id)?.and_then(|build| build.reason);
        info!(build = %id, project = %build.project, "{}", say::settled(id, state, reason.as_deref()));
        state
    };
    kill_point!(BuildSettled, &build.project);
    if remove_leftovers(&directories, state) && state.is_final() {
        kill_point!(BuildSwept, &build.project);
        builds.swept(id)?;
    }
    Ok(state)
}

fn write_end(
    builds: &mut Builds,
    build: &Build,
    directories: &Directories,
    ending: &Ending,
    going_down: impl FnOnce() -> bool,
) -> Result<BuildState, StoreError> {
    let now = Timestamp::from(std::time::SystemTime::now());
    let marks = Marks {
        superseded: build.superseded_by.is_some(),
        cancel_requested: build.cancel_requested,
    };
    let is_queued = build.state == BuildState::Queued;
    match Verdict::of(ending, marks, going_down) {
        Verdict::Failed => {
            if is_queued {
                // The program never got as far as its row. Left queued, it would be started again
                // and again.
                builds.claim(build.id, now)?;
            }
            let reason = failure(builds, build.id, directories, ending)?;
            builds.step(build.id, BuildEvent::Failed, Some(&reason), now)
        }
        Verdict::Cancelled if marks.cancel_requested => {
            // Who cancelled it, and why, stands in the row already.
            builds.step(build.id, BuildEvent::Cancelled, None, now)
        }
        Verdict::Cancelled => {
            let reason = say::stopped_by_hand(build.id);
            builds.step(build.id, BuildEvent::Cancelled, Some(&reason), now)
        }
        Verdict::Superseded => {
            let reason = say::superseded_before_its_end();
            builds.step(build.id, BuildEvent::Superseded, Some(reason), now)
        }
        Verdict::Interrupted if is_queued => Ok(BuildState::Queued),
        Verdict::Interrupted => builds.step(build.id, BuildEvent::Interrupted, None, now),
    }
}

/// The reason with the last lines of what the build was doing.
fn failure(
    builds: &mut Builds,
    id: BuildId,
    directories: &Directories,
    ending: &Ending,
) -> Result<String, StoreError> {
    let outputs = builds.outputs(id)?;
    let current = outputs.iter().find(|output| output.state == OutputState::Building);
    let file: PathBuf = match current {
        Some(output) => directories.logs.join(format!("{}.log", output.name)),
        None => directories.logs.join("build.log"),
    };
    let reason = say::ending(ending, &last_lines(&file, LAST_LINES));
    if let Some(output) = current {
        let now = Timestamp::from(std::time::SystemTime::now());
        builds.output_failed(id, &output.name, &reason, now)?;
    }
    Ok(reason)
}

/// Removes what lies in the directories of a build that is in this state. Says whether all is gone.
pub(crate) fn remove_leftovers(directories: &Directories, state: BuildState) -> bool {
    let mut removed = vec![directories.remove_work()];
    match state {
        BuildState::Failed | BuildState::Cancelled | BuildState::Superseded => {
            removed.push(directories.remove_roots());
        }
        // What an interrupted run has built is still there for the next one.
        BuildState::WaitingForApproval
        | BuildState::Queued
        | BuildState::Building
        | BuildState::Succeeded
        | BuildState::Partial => {}
    }
    let failed: Vec<_> = removed.into_iter().filter_map(Result::err).collect();
    for error in &failed {
        warn!("removing what a build leaves: {error}, ignoring: the dispatcher has it tried again");
    }
    failed.is_empty()
}

/// Whether the system or Kennel as a whole is being stopped. If systemd cannot be asked, it is: a
/// build too many is better than one lost.
fn going_down() -> bool {
    let ask = async { Manager::connect().await?.going_down().await };
    let answer = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            runtime.block_on(ask).map_err(|error: ManagerError| error_chain(&error))
        });
    answer.unwrap_or_else(|error| {
        warn!("asking whether the system stops: {error}, ignoring: the build runs again");
        true
    })
}

#[cfg(test)]
mod tests {
    use kennel_core::{EventId, OutputKind, StorePath};
    use kennel_store::NewBuild;

    use super::*;

    const NOW: fn(i64) -> Timestamp = Timestamp::from_millis;

    struct Host {
        _dir: tempfile::TempDir,
        layout: Layout,
        builds: Builds,
        id: BuildId,
        directories: Directories,
    }

    fn host() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        std::fs::create_dir_all(layout.builds_db().parent().unwrap()).unwrap();
        let mut builds = Builds::open(&layout.builds_db(), Access::Patient).unwrap();
        let new = NewBuild {
            fork: false,
            needs_approval: false,
            request: EventId::from_row(1),
            project: "demo".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            sha: "a".repeat(40).parse().unwrap(),
            by: None,
            received_at: NOW(1),
        };
        let id = builds.enqueue(&new, NOW(1)).unwrap().id;
        let directories = Directories::new(&layout, &new.project, id);
        directories.make().unwrap();
        Host { _dir: dir, layout, builds, id, directories }
    }

    impl Host {
        fn settle(&self, ending: &Ending, going_down: bool) -> BuildState {
            settle_as(&self.layout, self.id, ending, || going_down).unwrap()
        }

        fn reason(&self) -> String {
            self.builds.get(self.id).unwrap().unwrap().reason.unwrap_or_default()
        }
    }

    #[test]
    fn a_failure_carries_the_last_lines_and_takes_its_roots_with_it() {
        let mut host = host();
        host.builds.claim(host.id, NOW(2)).unwrap();
        let api: kennel_core::ServiceName = "api".parse().unwrap();
        host.builds.plan(host.id, "", &[(api.clone(), OutputKind::Service)]).unwrap();
        host.builds.output_started(host.id, &api, NOW(3)).unwrap();
        let lines: String = (1..=12).map(|n| format!("line {n}\n")).collect();
        std::fs::write(host.directories.logs.join("api.log"), lines).unwrap();
        assert_eq!(host.settle(&Ending::OutOfMemory, false), BuildState::Failed);
        insta::assert_snapshot!(host.reason());
        let outputs = host.builds.outputs(host.id).unwrap();
        assert_eq!(outputs[0].state, OutputState::Failed);
        assert!(!host.directories.roots.exists());
        assert!(!host.directories.work.exists());
        assert!(host.directories.logs.exists());
        // Told twice, it changes nothing.
        assert_eq!(host.settle(&Ending::Stopped, false), BuildState::Failed);
    }

    #[test]
    fn an_interruption_keeps_what_was_built() {
        let mut host = host();
        host.builds.claim(host.id, NOW(2)).unwrap();
        assert_eq!(host.settle(&Ending::Stopped, true), BuildState::Queued);
        assert!(host.directories.roots.exists());
        assert_eq!(host.settle(&Ending::Stopped, true), BuildState::Queued);
    }

    #[test]
    fn a_build_that_waits_for_the_operator_stays_queued() {
        let host = host();
        assert_eq!(host.settle(&Ending::Waits, false), BuildState::Queued);
        assert!(host.directories.roots.exists());
    }

    #[test]
    fn a_stop_by_hand_and_a_cancellation_say_who_it_was() {
        let mut host = host();
        host.builds.claim(host.id, NOW(2)).unwrap();
        assert_eq!(host.settle(&Ending::Stopped, false), BuildState::Cancelled);
        insta::assert_snapshot!(host.reason(), @"stopped on the host (systemctl stop kennel-build@1)");

        let mut host = self::host();
        host.builds.claim(host.id, NOW(2)).unwrap();
        host.builds.request_cancel(host.id, "cancelled by ada", NOW(3)).unwrap();
        assert_eq!(host.settle(&Ending::Stopped, true), BuildState::Cancelled);
        assert_eq!(host.reason(), "cancelled by ada");
    }

    #[test]
    fn a_program_that_never_got_to_its_row_fails_it() {
        let host = host();
        assert_eq!(host.settle(&Ending::NotStarted("resources".into()), false), BuildState::Failed);
        insta::assert_snapshot!(host.reason(), @"systemd could not start the program (resources); see its journal");
    }

    #[test]
    fn a_success_is_left_alone() {
        let mut host = host();
        host.builds.claim(host.id, NOW(2)).unwrap();
        let api = "api".parse().unwrap();
        let path: StorePath = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api".parse().unwrap();
        host.builds.plan(host.id, "", &[(api, OutputKind::Service)]).unwrap();
        host.builds.output_built(host.id, &"api".parse().unwrap(), &path, NOW(4)).unwrap();
        host.builds.step(host.id, BuildEvent::Succeeded, None, NOW(5)).unwrap();
        assert_eq!(host.settle(&Ending::Silent, false), BuildState::Succeeded);
        assert!(host.directories.roots.exists());
    }
}
