//! `kennelctl rollback`: a wish that what served before serves again, and what comes of it.

use std::time::Instant;

use kennel_core::Event;

use crate::args::RollbackArgs;
use crate::deploying::{deployed, until_interrupted};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::signals::Signals;
use crate::target::one_output;

/// Leaves the wish and waits until it serves or has failed.
pub(crate) fn run(host: &Host, args: &RollbackArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let (git_ref, service) = one_output(host, &state, &args.target)?;
    // Before the wish: from then on an interruption has something to say.
    let signals = Signals::catch()?;
    let begun = Instant::now();
    let event = Event::RollBack { git_ref, service, to: args.to };
    let wish = host.wish(&args.target.project, event)?;
    if args.no_wait {
        host.terminal.line(&say::rollback_wished(&asked))?;
        return Ok(Exit::Done);
    }
    let mut pause = until_interrupted(&signals, &asked);
    let outcome = wish.decided(&mut pause)?.ok_or(Failure::Undecided)?;
    if state.of_request(wish.id)?.is_empty() {
        return Err(Failure::Refused(outcome));
    }
    Ok(if deployed(host, &state, &wish, begun, &mut pause)? { Exit::Done } else { Exit::Failed })
}
