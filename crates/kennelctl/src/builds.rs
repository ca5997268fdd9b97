//! `kennelctl builds`: what was built lately.

use kennel_store::BuildFilter;

use crate::args::BuildsArgs;
use crate::build_view::{BuildView, table};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::{clock, say};

/// Prints the newest builds.
pub(crate) fn run(host: &Host, args: &BuildsArgs) -> Result<Exit, Failure> {
    let filter = BuildFilter { project: args.project.clone(), ..BuildFilter::default() };
    let builds = match host.builds()? {
        Some(builds) => builds.list(&filter, args.limit)?,
        None => Vec::new(),
    };
    if let Some(project) = &args.project
        && builds.is_empty()
        && !host.configured_projects().iter().any(|known| known == project.as_str())
    {
        return Err(Failure::NoProject(project.clone(), host.configured_projects()));
    }
    let builds: Vec<BuildView> = builds.into_iter().map(BuildView::from).collect();
    if args.json {
        host.terminal.json(&builds)?;
    } else if builds.is_empty() {
        host.terminal.line(say::no_builds())?;
    } else {
        host.terminal.print(&table(&builds, clock::now()).render(host.terminal))?;
    }
    Ok(Exit::Done)
}
