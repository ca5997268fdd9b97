//! `kennelctl audit`: what people did.

use kennel_core::{Action, ProjectName, Timestamp};
use kennel_store::{AuditFilter, AuditRow};
use serde::Serialize;

use crate::args::AuditArgs;
use crate::clock::{self, ago};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::table::{Cell, Table};
use crate::terminal::printable;

/// Prints the newest rows that all conditions let through.
pub(crate) fn run(host: &Host, args: &AuditArgs) -> Result<Exit, Failure> {
    let filter = AuditFilter {
        project: args.project.clone(),
        actions: args.action.clone(),
        since: args.since.map(|since| since.before(clock::now())),
        by: args.by.clone(),
    };
    let (rows, all) = match host.state()? {
        Some(state) => (state.audit(&filter, args.limit)?, state.audit_count(&filter)?),
        None => (Vec::new(), 0),
    };
    let rows: Vec<View> = rows.into_iter().map(View::from).collect();
    if args.json {
        host.terminal.json(&rows)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        host.terminal.line(say::no_audit())?;
        return Ok(Exit::Done);
    }
    host.terminal.print(&table(&rows, clock::now()).render(host.terminal))?;
    let more = all.saturating_sub(rows.len() as u64);
    if more > 0 {
        host.terminal.line(&say::more_audit(more))?;
    }
    Ok(Exit::Done)
}

/// One row. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
struct View {
    id: i64,
    #[serde(serialize_with = "clock::serialize")]
    at: Timestamp,
    by: Option<String>,
    uid: Option<u32>,
    action: Action,
    project: ProjectName,
    subject: String,
    outcome: String,
}

impl From<AuditRow> for View {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, by, uid, action, project, subject, outcome } = row;
        Self { id, at, by, uid, action, project, subject, outcome }
    }
}

fn table(rows: &[View], now: Timestamp) -> Table {
    let mut table = Table::new(&["WHEN", "WHO", "DID", "PROJECT", "TO", "OUTCOME"]);
    for row in rows {
        let who = match (&row.by, row.uid) {
            (Some(by), Some(uid)) => format!("{} ({uid})", printable(by)),
            (Some(by), None) => printable(by),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "unknown".to_owned(),
        };
        table.row(vec![
            Cell::new(ago(row.at, now)),
            Cell::new(who),
            Cell::new(row.action.as_str()),
            Cell::new(row.project.as_str()),
            Cell::new(printable(&row.subject)),
            Cell::new(printable(row.outcome.lines().next().unwrap_or_default())),
        ]);
    }
    table
}
