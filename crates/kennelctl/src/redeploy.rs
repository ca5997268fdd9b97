//! `kennelctl redeploy`: a wish that what was built is deployed again, and what comes of it.
//!
//! Decides nothing: the dispatcher does, and its refusal is printed in its own words. What it
//! allowed is found by the wish's number, which its rows carry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kennel_core::{BuildState, DeploymentId, DeploymentState, Event};
use kennel_store::{Builds, Deployment, State};

use crate::args::RedeployArgs;
use crate::failure::{Exit, Failure};
use crate::follow::follow;
use crate::host::{Host, Wish};
use crate::say;
use crate::signals::{Signal, Signals};
use crate::status::Addresses;
use crate::target::{Known, Target};
use crate::terminal::printable;

const PAUSE: Duration = Duration::from_millis(50);

/// Leaves the wish and waits until everything serves or has failed.
pub(crate) fn run(host: &Host, args: &RedeployArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let (Some(builds), Some(state)) = (host.builds()?, host.state()?) else {
        return Err(Failure::NeverBuilt { asked, known: Vec::new() });
    };
    let event = match (resolve(host, args, &builds, &state)?, args.rebuild) {
        (Target::Project, _) => return Err(Failure::WholeProject(asked)),
        (Target::Branch(git_ref), false) => Event::Redeploy { git_ref, service: None },
        (Target::Branch(git_ref), true) => Event::Rebuild { git_ref },
        (Target::Output(git_ref, name), false) => Event::Redeploy { git_ref, service: Some(name) },
        (Target::Output(git_ref, _), true) => {
            let branch = format!("{}/{}", args.target.project, git_ref.short());
            return Err(Failure::RebuildOfOne { asked, branch });
        }
    };
    // Before the wish: from then on an interruption has something to say.
    let signals = Signals::catch()?;
    let begun = Instant::now();
    let wish = host.wish(&args.target.project, event)?;
    if args.no_wait {
        host.terminal.line(&say::redeploy_wished(&asked))?;
        return Ok(Exit::Done);
    }
    let mut pause = |length| match signals.wait(length) {
        Some(Signal::End) => Err(Failure::Interrupted(asked.clone())),
        Some(Signal::Resized) | None => Ok(()),
    };
    let outcome = wish.decided(&mut pause)?.ok_or(Failure::Undecided)?;
    if let Some(build) = builds.of_request(wish.id)? {
        host.terminal.aside(&say::rebuilds(build.id, &build.sha));
        follow(host, &builds, build.id, true, &mut pause)?;
        let ended = builds.get(build.id)?.ok_or(Failure::NoBuild(build.id))?;
        if !matches!(ended.state, BuildState::Succeeded | BuildState::Partial) {
            let reason = ended.reason.as_deref().unwrap_or_default();
            return Err(Failure::BuildEnded(ended.id, ended.state, printable(first(reason))));
        }
        while !builds.is_handed_over(build.id)? {
            pause(PAUSE)?;
        }
        let all = deployed(host, &state, &wish, begun, &mut pause)?;
        // What could not be built keeps serving as it was, and is no success.
        let whole = ended.state == BuildState::Succeeded;
        if !whole {
            host.terminal.aside(&say::build_ended(ended.id, ended.state, None));
        }
        return Ok(if all && whole { Exit::Done } else { Exit::Failed });
    }
    if state.of_request(wish.id)?.is_empty() {
        return Err(Failure::Refused(outcome));
    }
    Ok(if deployed(host, &state, &wish, begun, &mut pause)? { Exit::Done } else { Exit::Failed })
}

/// What of all that was ever built or deployed is meant.
fn resolve(
    host: &Host,
    args: &RedeployArgs,
    builds: &Builds,
    state: &State,
) -> Result<Target, Failure> {
    let project = &args.target.project;
    let deployed = state.newest(Some(project))?;
    let refs = builds.refs(project)?;
    let known: Vec<Known> =
        deployed.iter().map(Known::from).chain(refs.into_iter().map(Known::from)).collect();
    host.ensure_project(project, !known.is_empty())?;
    args.target.resolve_built(&known)
}

type Pause<'a> = &'a mut dyn FnMut(Duration) -> Result<(), Failure>;

/// Tells each turn until all deployments of the wish serve or have ended. Says whether all serve.
fn deployed(
    host: &Host,
    state: &State,
    wish: &Wish,
    begun: Instant,
    pause: Pause<'_>,
) -> Result<bool, Failure> {
    let mut told: BTreeMap<DeploymentId, DeploymentState> = BTreeMap::new();
    loop {
        let deployments = state.of_request(wish.id)?;
        for it in &deployments {
            if told.insert(it.id, it.state) != Some(it.state) {
                tell(host, it, begun)?;
            }
        }
        let under_way = |it: &Deployment| {
            matches!(it.state, DeploymentState::Pending | DeploymentState::Starting)
        };
        if !deployments.iter().any(under_way) {
            return Ok(deployments
                .iter()
                .all(|it| it.active_at.is_some() || it.state == DeploymentState::Unchanged));
        }
        pause(PAUSE)?;
    }
}

fn tell(host: &Host, it: &Deployment, begun: Instant) -> Result<(), Failure> {
    match it.state {
        DeploymentState::Pending => host.terminal.aside(&say::deployment_waits(it.id, &it.key)),
        DeploymentState::Starting => host.terminal.aside(&say::deployment_starts(it.id, &it.key)),
        DeploymentState::Active | DeploymentState::Draining | DeploymentState::Retired => {
            let addresses = Addresses::read(&host.layout.route_table()).unwrap_or_default();
            let urls = addresses.of(it.id);
            let text = say::deployment_serves(it.id, &it.key, begun.elapsed(), &urls);
            host.terminal.line(&text)?;
        }
        DeploymentState::Failed
        | DeploymentState::Superseded
        | DeploymentState::Unchanged
        | DeploymentState::Cancelled
        | DeploymentState::TearingDown
        | DeploymentState::TornDown => {
            let reason = it.reason.as_deref().unwrap_or_default();
            let reason: Vec<_> = reason.lines().map(printable).collect();
            let text = say::deployment_ended(it.id, &it.key, it.state, &reason.join("\n  "));
            host.terminal.line(&text)?;
        }
    }
    Ok(())
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
