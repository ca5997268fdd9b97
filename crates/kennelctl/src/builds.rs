//! `kennelctl builds`: what was built lately.

use std::time::Duration;

use kennel_core::GitRef;
use kennel_store::{BuildFilter, Builds};

use crate::args::BuildsArgs;
use crate::build_view::{BuildView, table};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::{Known, Target};
use crate::watch::{Frame, watch};
use crate::{clock, say};

/// Where there is no terminal that could be too small.
const MOST: u32 = 20;

/// Lines of a terminal that are not builds: the head, how many more there are, the next prompt, and
/// the title when they are watched.
const OTHER_LINES: usize = 6;

/// Prints the newest builds that all conditions let through.
pub(crate) fn run(host: &Host, args: &BuildsArgs) -> Result<Exit, Failure> {
    if let Some(seconds) = args.watch {
        let every = Duration::from_secs(seconds.into());
        return watch(host, "kennelctl builds, until Ctrl-C", every, &mut || {
            let found = find(host, args)?;
            let says = serde_json::to_string(&found.builds).map_err(Failure::Json)?;
            Ok(Frame { text: found.render(host), says })
        });
    }
    let found = find(host, args)?;
    if args.json {
        host.terminal.json(&found.builds)?;
    } else {
        host.terminal.print(&found.render(host))?;
    }
    Ok(Exit::Done)
}

struct Found {
    builds: Vec<BuildView>,
    /// How many there are beyond those.
    more: u64,
}

impl Found {
    fn render(&self, host: &Host) -> String {
        if self.builds.is_empty() {
            return format!("{}\n", say::no_builds());
        }
        let mut text = table(&self.builds, clock::now()).render(host.terminal);
        if self.more > 0 {
            text.push_str(&say::more_builds(self.more));
            text.push('\n');
        }
        text
    }
}

fn find(host: &Host, args: &BuildsArgs) -> Result<Found, Failure> {
    let builds = host.builds()?;
    let filter = filter(host, args, builds.as_ref())?;
    let Some(builds) = builds else { return Ok(Found { builds: Vec::new(), more: 0 }) };
    let limit = args.limit.unwrap_or_else(|| fitting(host, args));
    let shown = builds.list(&filter, limit)?;
    let more = builds.count(&filter)?.saturating_sub(shown.len() as u64);
    Ok(Found { builds: shown.into_iter().map(BuildView::from).collect(), more })
}

fn fitting(host: &Host, args: &BuildsArgs) -> u32 {
    match host.terminal.size() {
        Some((_, rows)) if !args.json => {
            u32::try_from(rows.saturating_sub(OTHER_LINES)).unwrap_or(MOST).max(1)
        }
        _ => MOST,
    }
}

fn filter(host: &Host, args: &BuildsArgs, builds: Option<&Builds>) -> Result<BuildFilter, Failure> {
    let project = args.project.as_ref().or(args.target.as_ref().map(|target| &target.project));
    let git_ref = match (project, builds) {
        (Some(project), builds) => {
            let refs = builds.map(|builds| builds.refs(project)).transpose()?.unwrap_or_default();
            host.ensure_project(project, !refs.is_empty())?;
            of_target(host, args, refs)?
        }
        (None, _) => None,
    };
    Ok(BuildFilter {
        project: project.cloned(),
        git_ref,
        states: args.state.clone(),
        since: args.since.map(|since| since.before(clock::now())),
        commit: args.commit.clone(),
        by: args.by.clone(),
    })
}

/// The branch that is asked for, if one is.
fn of_target(host: &Host, args: &BuildsArgs, refs: Vec<GitRef>) -> Result<Option<GitRef>, Failure> {
    let Some(asked) = &args.target else { return Ok(None) };
    let mut known: Vec<Known> = refs.into_iter().map(Known::from).collect();
    if let Some(state) = host.state()? {
        // For the short names of branches.
        known.extend(state.newest(Some(&asked.project))?.iter().map(Known::from));
    }
    match asked.resolve_built(&known)? {
        Target::Project => Ok(None),
        Target::Branch(git_ref) => Ok(Some(git_ref)),
        Target::Output(git_ref, _) => Err(Failure::BuildOfOne {
            asked: asked.to_string(),
            branch: format!("{}/{}", asked.project, git_ref.short()),
        }),
    }
}
