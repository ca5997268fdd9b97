//! `kennelctl approve`: a stranger's commit may be built.
//!
//! The wish names the build, and so one commit: what is pushed while somebody looks at it is not
//! approved along with it.

use kennel_core::{BuildState, Event};
use kennel_store::BuildFilter;

use crate::args::ApproveArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::target::{Known, Target};

/// Leaves the wish and waits for the answer.
pub(crate) fn run(host: &Host, args: &ApproveArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let project = &args.target.project;
    let Some(builds) = host.builds()? else {
        return Err(Failure::NeverBuilt { asked, known: Vec::new() });
    };
    let known: Vec<Known> = builds.refs(project)?.into_iter().map(Known::from).collect();
    host.ensure_project(project, !known.is_empty())?;
    let git_ref = match args.target.resolve_built(&known)? {
        Target::Branch(git_ref) => git_ref,
        Target::Project | Target::Output(..) => return Err(Failure::NotOneCommit(asked)),
    };
    let waiting = BuildFilter {
        project: Some(project.clone()),
        git_ref: Some(git_ref),
        states: vec![BuildState::WaitingForApproval],
        commit: args.commit.clone(),
        ..BuildFilter::default()
    };
    let Some(build) = builds.list(&waiting, 1)?.into_iter().next() else {
        return Err(Failure::NothingWaits { asked, commit: args.commit.clone() });
    };
    let wish = host.wish(project, Event::Approve { build: build.id })?;
    let outcome = wish.answer()?;
    let approved = builds.get(build.id)?.ok_or(Failure::NoBuild(build.id))?;
    if approved.approved_by.is_none() {
        return Err(Failure::Refused(outcome));
    }
    host.terminal.line(&say::approved(&approved))?;
    Ok(Exit::Done)
}
