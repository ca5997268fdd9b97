//! `kennelctl cancel`: a wish that a build may end, or what is made of it, and what came of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kennel_core::{BuildState, DeploymentId, DeploymentState, Event};
use kennel_store::{Build, Builds, Deployment, State};

use crate::args::CancelArgs;
use crate::failure::{Exit, Failure};
use crate::host::{Host, Wish};
use crate::say;

/// A running build is gone within two seconds; the rest is for a host that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A service has 10 s to stop, and several may go one after the other.
const PATIENCE_WITH_SERVICES: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Leaves the wish and waits until the rows say that the build, or what is made of it, has ended.
pub(crate) fn run(host: &Host, args: &CancelArgs) -> Result<Exit, Failure> {
    let id = args.id;
    let builds = host.builds()?.ok_or(Failure::NoBuild(id))?;
    let build = builds.get(id)?.ok_or(Failure::NoBuild(id))?;
    if build.state == BuildState::Cancelled {
        host.terminal.line(&say::cancelled(id, build.state))?;
        return Ok(Exit::Done);
    }
    let state = host.state()?;
    let making = Making { builds: &builds, state: state.as_ref(), build: &build };
    let mut ending = making.unserved()?;
    let all_made = making.is_all_made()?;
    if ending.is_empty() && all_made {
        return Err(Failure::AlreadyEnded(id, build.state));
    }
    let wish = host.wish(&build.project, Event::Cancel { build: id })?;
    if args.no_wait {
        host.terminal.line(&say::cancel_wished(id))?;
        return Ok(Exit::Done);
    }
    let ended = wait(&builds, &build, &wish)?;
    if !matches!(ended, BuildState::Succeeded | BuildState::Partial) {
        host.terminal.line(&say::cancelled(id, ended))?;
        return Ok(match ended {
            BuildState::Cancelled | BuildState::Superseded => Exit::Done,
            BuildState::WaitingForApproval
            | BuildState::Queued
            | BuildState::Building
            | BuildState::Succeeded
            | BuildState::Partial
            | BuildState::Failed => Exit::Failed,
        });
    }
    if !all_made {
        // Made after the first look.
        ending.extend(making.asked_for()?);
    }
    if ending.is_empty() {
        host.terminal.line(&say::cancelled(id, ended))?;
        return Ok(Exit::Failed);
    }
    let mut exit = Exit::Done;
    for it in making.wait(ending)? {
        host.terminal.line(&say::deployment_cancelled(it.id, &it.key, it.state))?;
        if it.state != DeploymentState::Cancelled {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// Waits for the build's end and, where it ended by itself, for the dispatcher's decision.
fn wait(builds: &Builds, build: &Build, wish: &Wish) -> Result<BuildState, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = builds.get(build.id)?.ok_or(Failure::NoBuild(build.id))?.state;
        let is_over = match state {
            BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => false,
            BuildState::Succeeded | BuildState::Partial => wish.outcome()?.is_some(),
            BuildState::Failed | BuildState::Cancelled | BuildState::Superseded => true,
        };
        if is_over || Instant::now() >= deadline {
            return Ok(state);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What is made of a build.
struct Making<'a> {
    builds: &'a Builds,
    state: Option<&'a State>,
    build: &'a Build,
}

type Deployments = BTreeMap<DeploymentId, Deployment>;

impl Making<'_> {
    /// Its deployments that do not serve yet.
    fn unserved(&self) -> Result<Deployments, Failure> {
        let Some(state) = self.state else { return Ok(Deployments::new()) };
        let unserved = state.in_states(&[DeploymentState::Pending, DeploymentState::Starting])?;
        let own = unserved.into_iter().filter(|it| it.build == self.build.id);
        Ok(own.map(|it| (it.id, it)).collect())
    }

    /// The deployments that its own request has made, without those of later redeployments.
    fn asked_for(&self) -> Result<Deployments, Failure> {
        let Some(state) = self.state else { return Ok(Deployments::new()) };
        let own = state.of_request(self.build.request)?;
        Ok(own.into_iter().map(|it| (it.id, it)).collect())
    }

    /// Whether no deployments will be made of it any more.
    fn is_all_made(&self) -> Result<bool, Failure> {
        match self.build.state {
            BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => Ok(false),
            BuildState::Succeeded | BuildState::Partial => {
                Ok(self.builds.is_handed_over(self.build.id)?)
            }
            BuildState::Failed | BuildState::Cancelled | BuildState::Superseded => Ok(true),
        }
    }

    /// Waits until all of them have ended and left nothing, or serve.
    fn wait(&self, mut ending: Deployments) -> Result<Vec<Deployment>, Failure> {
        let deadline = Instant::now() + PATIENCE_WITH_SERVICES;
        loop {
            if let Some(state) = self.state {
                for (id, it) in &mut ending {
                    if let Some(now) = state.get(*id)? {
                        *it = now;
                    }
                }
            }
            let is_over = |it: &Deployment| match it.state {
                DeploymentState::Pending | DeploymentState::Starting => false,
                DeploymentState::Cancelled => it.cleaned,
                DeploymentState::Active
                | DeploymentState::Draining
                | DeploymentState::Retired
                | DeploymentState::TearingDown
                | DeploymentState::TornDown
                | DeploymentState::Failed
                | DeploymentState::Superseded
                | DeploymentState::Unchanged => true,
            };
            if ending.values().all(is_over) || Instant::now() >= deadline {
                return Ok(ending.into_values().collect());
            }
            std::thread::sleep(PAUSE);
        }
    }
}
