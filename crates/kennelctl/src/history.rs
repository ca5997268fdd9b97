//! `kennelctl history`: what a service or site has served, and what it could serve again.

use kennel_core::{BuildId, CommitSha, DeploymentId, DeploymentState, Timestamp};
use kennel_store::{Builds, Deployment, State};
use serde::Serialize;

use crate::args::HistoryArgs;
use crate::build_view::first_line;
use crate::clock::{self, ago};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::table::{Cell, Table};
use crate::target::one_output;
use crate::terminal::{Colour, printable};

/// Prints the newest deployments.
pub(crate) fn run(host: &Host, args: &HistoryArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let (git_ref, service) = one_output(host, &state, &args.target)?;
    let key = kennel_core::OutputKey { project: args.target.project.clone(), git_ref, service };
    let builds = host.builds()?;
    let mut lines = Vec::new();
    for deployment in state.history(&key, args.limit)? {
        let by = by(&state, builds.as_ref(), &deployment)?;
        lines.push(Line::new(deployment, by));
    }
    if args.json {
        host.terminal.json(&lines)?;
        return Ok(Exit::Done);
    }
    host.terminal.print(&table(&lines, clock::now()).render(host.terminal))?;
    let pins = state.pins()?;
    if let Some(pin) = pins.iter().find(|pin| pin.scope.covers(&key)) {
        let when = ago(pin.at, clock::now());
        host.terminal.line(&say::pinned(&pin.scope.to_string(), pin.by.as_deref(), &when))?;
    }
    Ok(Exit::Done)
}

/// Who asked for it: whoever wished it, else whoever pushed what was built.
fn by(
    state: &State,
    builds: Option<&Builds>,
    deployment: &Deployment,
) -> Result<Option<String>, Failure> {
    if let Some(row) = state.audit_of(deployment.request)? {
        return Ok(row.by);
    }
    let build = match builds {
        Some(builds) => builds.get(deployment.build)?,
        None => None,
    };
    Ok(build.and_then(|build| build.by))
}

/// One deployment. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
struct Line {
    id: DeploymentId,
    state: DeploymentState,
    commit: CommitSha,
    build: BuildId,
    by: Option<String>,
    #[serde(serialize_with = "clock::serialize")]
    created_at: Timestamp,
    #[serde(serialize_with = "clock::serialize_maybe")]
    active_at: Option<Timestamp>,
    #[serde(serialize_with = "clock::serialize_maybe")]
    ended_at: Option<Timestamp>,
    rollback_to: Option<DeploymentId>,
    /// Whether `kennelctl rollback --to` takes it.
    kept: bool,
    reason: Option<String>,
}

impl Line {
    fn new(it: Deployment, by: Option<String>) -> Self {
        Self {
            id: it.id,
            state: it.state,
            commit: it.sha,
            build: it.build,
            by,
            created_at: it.created_at,
            active_at: it.active_at,
            ended_at: it.ended_at,
            rollback_to: it.rollback_to,
            kept: it.state.is_kept(),
            reason: it.reason,
        }
    }

    fn note(&self) -> String {
        match (self.rollback_to, self.reason.as_deref()) {
            (_, Some(reason)) => first_line(reason),
            (Some(to), None) => say::back_to(to),
            (None, None) => String::new(),
        }
    }
}

fn table(lines: &[Line], now: Timestamp) -> Table {
    let mut table = Table::new(&["DEPLOYMENT", "STATE", "COMMIT", "BY", "WHEN", "KEPT", "NOTE"]);
    for line in lines {
        table.row(vec![
            Cell::new(line.id.to_string()),
            crate::status::state_cell(line.state),
            Cell::new(line.commit.short()),
            Cell::new(line.by.as_deref().map(printable).unwrap_or_default()),
            Cell::new(ago(line.active_at.unwrap_or(line.created_at), now)),
            if line.kept {
                Cell::painted("yes", Colour::Good)
            } else {
                Cell::painted("-", Colour::Faint)
            },
            Cell::new(line.note()),
        ]);
    }
    table
}
