//! `kennelctl cancel`: a wish that a build may end, and what came of it.

use std::time::{Duration, Instant};

use kennel_core::{BuildState, Event};

use crate::args::CancelArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;

/// A running build is gone within two seconds; the rest is for a host that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

/// Leaves the wish and waits until the row says that the build has ended.
pub(crate) fn run(host: &Host, args: &CancelArgs) -> Result<Exit, Failure> {
    let id = args.id;
    let builds = host.builds()?.ok_or(Failure::NoBuild(id))?;
    let build = builds.get(id)?.ok_or(Failure::NoBuild(id))?;
    if build.state == BuildState::Cancelled {
        host.terminal.line(&say::cancelled(id, build.state))?;
        return Ok(Exit::Done);
    }
    if build.state.is_final() {
        return Err(Failure::AlreadyEnded(id, build.state));
    }
    host.wish(&build.project, Event::Cancel { build: id })?;
    if args.no_wait {
        host.terminal.line(&say::cancel_wished(id))?;
        return Ok(Exit::Done);
    }
    let deadline = Instant::now() + PATIENCE;
    let state = loop {
        let state = builds.get(id)?.ok_or(Failure::NoBuild(id))?.state;
        if state.is_final() || Instant::now() >= deadline {
            break state;
        }
        std::thread::sleep(PAUSE);
    };
    host.terminal.line(&say::cancelled(id, state))?;
    Ok(match state {
        BuildState::Cancelled | BuildState::Superseded => Exit::Done,
        BuildState::WaitingForApproval
        | BuildState::Queued
        | BuildState::Building
        | BuildState::Succeeded
        | BuildState::Partial
        | BuildState::Failed => Exit::Failed,
    })
}
