//! `kennelctl teardown`: a wish that deployments may go, and the wait until they have.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kennel_core::{DeploymentId, DeploymentState, Event, Job};
use kennel_store::{Deployment, State};

use crate::args::TeardownArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::target::{Known, Target};

/// A service has 10 s to stop, and several may go one after the other.
const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(100);

/// Asks, leaves the wish and waits until nothing of it is left.
pub(crate) fn run(host: &Host, args: &TeardownArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let state = host.state()?;
    let all = match &state {
        Some(state) => state.in_states(&with_something_left())?,
        None => Vec::new(),
    };
    let of_project: Vec<_> =
        all.into_iter().filter(|it| it.key.project == args.target.project).collect();
    let known: Vec<Known> = of_project.iter().map(Known::from).collect();
    host.ensure_project(&args.target.project, !known.is_empty())?;
    let (git_ref, service) = match args.target.resolve(&known)? {
        Target::Project => return Err(Failure::WholeProject(asked)),
        Target::Branch(git_ref) => (git_ref, None),
        Target::Output(git_ref, service) => (git_ref, Some(service)),
    };
    let covered = |it: &&Deployment| {
        it.key.git_ref == git_ref && service.as_ref().is_none_or(|name| *name == it.key.service)
    };
    let going: Vec<_> = of_project.iter().filter(covered).collect();
    let outputs: BTreeSet<_> = going.iter().map(|it| it.key.to_string()).collect();
    let outputs: Vec<_> = outputs.into_iter().collect();

    if !args.yes {
        match host.terminal.confirm(&say::confirm_teardown(&git_ref.to_string(), &outputs))? {
            Some(true) => {}
            Some(false) => {
                host.terminal.line(say::teardown_declined())?;
                return Ok(Exit::Failed);
            }
            None => return Err(Failure::NobodyToAsk),
        }
    }
    let begun = Instant::now();
    host.wish(&args.target.project, Event::TearDown { git_ref, service })?;
    if args.no_wait {
        host.terminal.line(&say::teardown_wished(&asked))?;
        return Ok(Exit::Done);
    }
    let mut left: Vec<DeploymentId> = going.iter().map(|it| it.id).collect();
    while begun.elapsed() < PATIENCE {
        if let Some(state) = &state {
            left = still_there(state, &left)?;
        }
        if left.is_empty() {
            host.terminal.line(&say::torn_down(&outputs, begun.elapsed()))?;
            return Ok(Exit::Done);
        }
        std::thread::sleep(PAUSE);
    }
    let units: Vec<_> = left.iter().map(|id| Job::Teardown(*id).unit().to_string()).collect();
    host.terminal.line(&say::teardown_late(&units))?;
    Ok(Exit::Failed)
}

/// Those of `ids` that are not torn down.
fn still_there(state: &State, ids: &[DeploymentId]) -> Result<Vec<DeploymentId>, Failure> {
    let mut left = Vec::new();
    for id in ids {
        if state.get(*id)?.is_some_and(|it| it.state != DeploymentState::TornDown) {
            left.push(*id);
        }
    }
    Ok(left)
}

fn with_something_left() -> Vec<DeploymentState> {
    let states = DeploymentState::ALL.into_iter();
    states.filter(|state| *state != DeploymentState::TornDown).collect()
}
