//! `kennelctl redeploy`: a wish that what was built is deployed again, and what comes of it.
//!
//! Decides nothing: the dispatcher does, and its refusal is printed in its own words. What it
//! allowed is found by the wish's number, which its rows carry.

use std::time::{Duration, Instant};

use kennel_core::{BuildState, Event};
use kennel_store::{Builds, State};

use crate::args::RedeployArgs;
use crate::deploying::{deployed, until_interrupted};
use crate::failure::{Exit, Failure};
use crate::follow::follow;
use crate::host::Host;
use crate::say;
use crate::signals::Signals;
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
    let mut pause = until_interrupted(&signals, &asked);
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

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
