//! `kennelctl pin` and `kennelctl unpin`: whether pushes are deployed.

use std::time::Duration;

use kennel_core::{Event, GitRef, ServiceName};
use kennel_store::{Pin, State};

use crate::args::PinArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::{Known, Target};

/// Leaves the wish that pushes are built and held, and waits for the answer.
pub(crate) fn pin(host: &Host, args: &PinArgs) -> Result<Exit, Failure> {
    let meant = Meant::find(host, args)?;
    let event = Event::Pin { git_ref: meant.git_ref.clone(), service: meant.service.clone() };
    let outcome = ask(host, args, event)?;
    let is_it = |pin: &Pin| meant.is_on_branch(pin) && pin.service == meant.service;
    if !meant.state.pins()?.iter().any(is_it) {
        return Err(Failure::Refused(outcome));
    }
    host.terminal.line(&outcome)?;
    Ok(Exit::Done)
}

/// Leaves the wish that pushes are deployed again, and waits for the answer.
pub(crate) fn unpin(host: &Host, args: &PinArgs) -> Result<Exit, Failure> {
    let meant = Meant::find(host, args)?;
    let event = Event::Unpin { git_ref: meant.git_ref.clone(), service: meant.service.clone() };
    let outcome = ask(host, args, event)?;
    let holds = |pin: &Pin| {
        meant.is_on_branch(pin) && (pin.service.is_none() || pin.service == meant.service)
    };
    if meant.state.pins()?.iter().any(holds) {
        return Err(Failure::Refused(outcome));
    }
    host.terminal.line(&outcome)?;
    Ok(Exit::Done)
}

/// What of all that is deployed is meant.
struct Meant<'a> {
    args: &'a PinArgs,
    state: State,
    git_ref: GitRef,
    service: Option<ServiceName>,
}

impl<'a> Meant<'a> {
    fn find(host: &Host, args: &'a PinArgs) -> Result<Self, Failure> {
        let asked = args.target.to_string();
        let Some(state) = host.state()? else {
            return Err(Failure::NoTarget { asked, known: Vec::new() });
        };
        let known: Vec<Known> =
            state.newest(Some(&args.target.project))?.iter().map(Known::from).collect();
        host.ensure_project(&args.target.project, !known.is_empty())?;
        let (git_ref, service) = match args.target.resolve(&known)? {
            Target::Project => return Err(Failure::NotABranch(asked)),
            Target::Branch(git_ref) => (git_ref, None),
            Target::Output(git_ref, service) => (git_ref, Some(service)),
        };
        Ok(Self { args, state, git_ref, service })
    }

    fn is_on_branch(&self, pin: &Pin) -> bool {
        pin.project == self.args.target.project && pin.git_ref == self.git_ref
    }
}

fn ask(host: &Host, args: &PinArgs, event: Event) -> Result<String, Failure> {
    let wish = host.wish(&args.target.project, event)?;
    let mut pause = |length: Duration| {
        std::thread::sleep(length);
        Ok(())
    };
    wish.decided(&mut pause)?.ok_or(Failure::Undecided)
}
