//! `kennelctl maintenance`: whether visitors are kept from something, and what they are told.

use std::time::{Duration, Instant};

use kennel_core::{Event, Notice};
use kennel_store::{Place, State};

use crate::args::{MaintenanceArgs, MaintenanceCommand, MaintenanceOffArgs, MaintenanceOnArgs};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::target::{Asked, Target, deployed};

/// How long the router may take to have it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Leaves the wish, waits for the answer, and until the router knows.
pub(crate) fn run(host: &Host, args: &MaintenanceArgs) -> Result<Exit, Failure> {
    match &args.command {
        MaintenanceCommand::On(args) => on(host, args),
        MaintenanceCommand::Off(args) => off(host, args),
    }
}

fn on(host: &Host, args: &MaintenanceOnArgs) -> Result<Exit, Failure> {
    let (state, place) = meant(host, &args.target)?;
    let seconds = u32::try_from(args.retry_after.0.as_secs()).unwrap_or(u32::MAX);
    let notice = Notice { message: args.message.clone(), retry_after_secs: seconds };
    let Place { project, git_ref, service } = place.clone();
    let event = Event::MaintenanceOn { git_ref, service, notice: notice.clone() };
    let outcome = host.wish(&project, event)?.answer()?;
    let is_it = |it: &kennel_store::Maintenance| it.place == place && it.notice == notice;
    let is_done = state.maintenance()?.iter().any(is_it);
    tell(host, &state, &outcome, is_done)
}

fn off(host: &Host, args: &MaintenanceOffArgs) -> Result<Exit, Failure> {
    let (state, place) = meant(host, &args.target)?;
    let Place { project, git_ref, service } = place.clone();
    let outcome = host.wish(&project, Event::MaintenanceOff { git_ref, service })?.answer()?;
    let is_done = !state.maintenance()?.iter().any(|it| it.place.contains(&place));
    tell(host, &state, &outcome, is_done)
}

/// What of all that is deployed, or already under maintenance, is meant.
fn meant(host: &Host, target: &Asked) -> Result<(State, Place), Failure> {
    let asked = target.to_string();
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let project = target.project.clone();
    let (git_ref, service) = match target.resolve(&deployed(host, &state, &project)?)? {
        Target::Project => (None, None),
        Target::Branch(git_ref) => (Some(git_ref), None),
        Target::Output(git_ref, service) => (Some(git_ref), Some(service)),
    };
    Ok((state, Place { project, git_ref, service }))
}

fn tell(host: &Host, state: &State, outcome: &str, is_done: bool) -> Result<Exit, Failure> {
    if !is_done {
        return Err(Failure::Refused(outcome.to_owned()));
    }
    let begun = Instant::now();
    while state.routes_wanted()?.is_some() {
        if begun.elapsed() > PATIENCE {
            host.terminal.line(outcome)?;
            host.terminal.aside(say::not_published());
            return Ok(Exit::Failed);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    host.terminal.line(outcome)?;
    Ok(Exit::Done)
}
