//! `kennelctl extend`: a wish that a branch stays longer than it would.

use kennel_core::{Event, GitRef};
use kennel_store::{Life, load_host, load_project};

use crate::args::ExtendArgs;
use crate::clock::{now, rfc3339, until};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::target::{Target, deployed};

/// Leaves the wish, waits for the answer, and says how long the branch stays.
pub(crate) fn run(host: &Host, args: &ExtendArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let project = &args.target.project;
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let git_ref = match args.target.resolve(&deployed(host, &state, project)?)? {
        Target::Branch(git_ref) => git_ref,
        Target::Project | Target::Output(..) => return Err(Failure::NotWholeBranch(asked)),
    };
    let wish = host.wish(project, Event::Extend { git_ref: git_ref.clone(), by: args.by })?;
    let outcome = wish.answer()?;
    let life = life(host, args, &git_ref)?.filter(|life| life.kept_by == Some(wish.id));
    let Some(life) = life else { return Err(Failure::Refused(outcome)) };
    let rules = (load_project(&host.layout, project).ok()).zip(load_host(&host.layout).ok());
    let end = rules.and_then(|(project, host)| life.ends_at(&project, &host)).or(life.kept_until);
    let end = end.unwrap_or_else(now);
    host.terminal.line(&say::extended(&asked, &until(end, now()), &rfc3339(end)))?;
    Ok(Exit::Done)
}

fn life(host: &Host, args: &ExtendArgs, git_ref: &GitRef) -> Result<Option<Life>, Failure> {
    let (Some(state), Some(builds)) = (host.state()?, host.builds()?) else { return Ok(None) };
    let mut lives = state.lives(&builds)?.into_iter();
    Ok(lives.find(|life| life.project == args.target.project && life.git_ref == *git_ref))
}
