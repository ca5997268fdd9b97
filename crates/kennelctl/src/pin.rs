//! `kennelctl pin` and `kennelctl unpin`: whether pushes are deployed.

use kennel_core::Event;
use kennel_store::{Pin, Scope, State};

use crate::args::PinArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::{Target, deployed};

/// Leaves the wish that pushes are built and held, and waits for the answer.
pub(crate) fn pin(host: &Host, args: &PinArgs) -> Result<Exit, Failure> {
    let (state, scope) = meant(host, args)?;
    let wish = |it: Scope| Event::Pin { git_ref: it.git_ref, service: it.service };
    let outcome = host.wish(&scope.project, wish(scope.clone()))?.answer()?;
    let is_done = state.pins()?.iter().any(|pin| pin.scope == scope);
    tell(host, outcome, is_done)
}

/// Leaves the wish that pushes are deployed again, and waits for the answer.
pub(crate) fn unpin(host: &Host, args: &PinArgs) -> Result<Exit, Failure> {
    let (state, scope) = meant(host, args)?;
    let wish = |it: Scope| Event::Unpin { git_ref: it.git_ref, service: it.service };
    let outcome = host.wish(&scope.project, wish(scope.clone()))?.answer()?;
    let holds = |pin: &Pin| pin.scope == scope || pin.scope == scope.whole_branch();
    let is_done = !state.pins()?.iter().any(holds);
    tell(host, outcome, is_done)
}

/// What of all that is deployed is meant.
fn meant(host: &Host, args: &PinArgs) -> Result<(State, Scope), Failure> {
    let asked = args.target.to_string();
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let project = args.target.project.clone();
    let (git_ref, service) = match args.target.resolve(&deployed(host, &state, &project)?)? {
        Target::Project => return Err(Failure::NotABranch(asked)),
        Target::Branch(git_ref) => (git_ref, None),
        Target::Output(git_ref, service) => (git_ref, Some(service)),
    };
    Ok((state, Scope { project, git_ref, service }))
}

fn tell(host: &Host, outcome: String, is_done: bool) -> Result<Exit, Failure> {
    if !is_done {
        return Err(Failure::Refused(outcome));
    }
    host.terminal.line(&outcome)?;
    Ok(Exit::Done)
}
