//! The whole report, for people and for programs.

use kennel_core::{DeploymentState, GitRef, NoticeText, ProjectName, ServiceName, Timestamp};
use kennel_store::{Maintenance, Pin};
use serde::Serialize;

use super::health::Health;
use super::line::Line;
use super::monitor::Seen;
use super::router::Router;
use crate::build_view::{self, BuildView, first_line};
use crate::clock::{self, ago, until};
use crate::say;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, Terminal};

/// What serves, what is being built, and what is wrong. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) deployments: Vec<Line>,
    pub(crate) builds: Vec<BuildView>,
    pub(crate) pins: Vec<PinView>,
    pub(crate) maintenance: Vec<MaintenanceView>,
    pub(crate) router: Router,
    pub(crate) warnings: Vec<String>,
}

/// One pin. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct PinView {
    #[serde(skip)]
    place: String,
    project: ProjectName,
    branch: String,
    #[serde(rename = "ref")]
    git_ref: GitRef,
    /// None for all of the branch.
    name: Option<ServiceName>,
    by: Option<String>,
    #[serde(serialize_with = "clock::serialize")]
    since: Timestamp,
}

/// What is under maintenance. The fields are the keys of its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct MaintenanceView {
    #[serde(skip)]
    place: String,
    project: ProjectName,
    /// None for all of the project, as the next.
    branch: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<GitRef>,
    /// None for all of the branch.
    name: Option<ServiceName>,
    message: Option<NoticeText>,
    retry_after_secs: u32,
    by: Option<String>,
    #[serde(serialize_with = "clock::serialize")]
    since: Timestamp,
}

impl From<&Maintenance> for MaintenanceView {
    fn from(it: &Maintenance) -> Self {
        Self {
            place: it.place.to_string(),
            project: it.place.project.clone(),
            branch: it.place.git_ref.as_ref().map(GitRef::short),
            git_ref: it.place.git_ref.clone(),
            name: it.place.service.clone(),
            message: it.notice.message.clone(),
            retry_after_secs: it.notice.retry_after_secs,
            by: it.by.clone(),
            since: it.at,
        }
    }
}

impl From<&Pin> for PinView {
    fn from(pin: &Pin) -> Self {
        Self {
            place: pin.scope.to_string(),
            project: pin.scope.project.clone(),
            branch: pin.scope.git_ref.short(),
            git_ref: pin.scope.git_ref.clone(),
            name: pin.scope.service.clone(),
            by: pin.by.clone(),
            since: pin.at,
        }
    }
}

impl Report {
    /// Without when the router looked last, which changes although nothing happens.
    pub(crate) fn forget_looks(&mut self) {
        self.deployments
            .iter_mut()
            .filter_map(|it| it.monitor.as_mut())
            .for_each(Seen::forget_look);
    }

    /// For people; `asked` is what they asked for, if not for all.
    pub(crate) fn render(&self, asked: Option<&str>, now: Timestamp, terminal: Terminal) -> String {
        let mut parts = Vec::new();
        let (failed, serving): (Vec<&Line>, Vec<&Line>) =
            self.deployments.iter().partition(|line| line.state == DeploymentState::Failed);
        if self.deployments.is_empty() {
            parts.push(say::nothing_deployed(asked) + "\n");
        }
        if !serving.is_empty() {
            parts.push(serving_table(&serving, now).render(terminal));
        }
        if !failed.is_empty() {
            let table = failed_table(&failed, now).render(terminal);
            parts.push(format!("{table}{}\n", say::failed_in_full()));
        }
        if !self.builds.is_empty() {
            parts.push(build_view::table(&self.builds, now).render(terminal));
        }
        if !self.pins.is_empty() {
            let lines = self.pins.iter().map(|pin| {
                let when = ago(pin.since, now);
                say::pinned(&pin.place, pin.by.as_deref(), &when) + "\n"
            });
            parts.push(lines.collect());
        }
        if !self.maintenance.is_empty() {
            let lines = self.maintenance.iter().map(|it| {
                let (when, message) =
                    (ago(it.since, now), it.message.as_ref().map(NoticeText::as_str));
                let line = say::maintained(&it.place, it.by.as_deref(), &when, message);
                terminal.paint(Colour::Busy, &line) + "\n"
            });
            parts.push(lines.collect());
        }
        if !self.warnings.is_empty() {
            let lines = self.warnings.iter().map(|warning| {
                terminal.paint(Colour::Bad, &crate::terminal::printable(warning)) + "\n"
            });
            parts.push(lines.collect());
        }
        parts.join("\n")
    }
}

fn serving_table(lines: &[&Line], now: Timestamp) -> Table {
    let any_expires = lines.iter().any(|line| line.expires_at.is_some());
    let head = ["DEPLOYED", "STATE", "HEALTH", "COMMIT", "SINCE", "EXPIRES", "ADDRESS"];
    let mut table = Table::new(
        &head.into_iter().filter(|it| any_expires || *it != "EXPIRES").collect::<Vec<_>>(),
    );
    for line in lines {
        let mut urls = line.urls.iter();
        let address = match (urls.next(), line.drain_until) {
            (Some(url), _) => url.clone(),
            (None, Some(end)) if line.state == DeploymentState::Draining => {
                say::ends(&until(end, now))
            }
            (None, _) => String::new(),
        };
        let mut cells = vec![
            Cell::new(line.place()),
            if line.held { Cell::painted("held", Colour::Busy) } else { state_cell(line.state) },
            health(line.health),
            Cell::new(line.commit.short()),
            Cell::new(ago(line.since, now)),
        ];
        if any_expires {
            cells.push(Cell::new(line.expires_at.map(|end| until(end, now)).unwrap_or_default()));
        }
        let before_address = cells.len();
        cells.push(Cell::new(address));
        table.row(cells);
        for url in urls {
            let mut cells = vec![Cell::default(); before_address];
            cells.push(Cell::new(url.clone()));
            table.row(cells);
        }
    }
    table
}

fn failed_table(lines: &[&Line], now: Timestamp) -> Table {
    let mut table = Table::new(&["FAILED", "DEPLOYMENT", "COMMIT", "WHEN", "WHY"]);
    for line in lines {
        table.row(vec![
            Cell::painted(line.place(), Colour::Bad),
            Cell::new(line.id.to_string()),
            Cell::new(line.commit.short()),
            Cell::new(ago(line.since, now)),
            Cell::new(line.reason.as_deref().map(first_line).unwrap_or_default()),
        ]);
    }
    table
}

/// A deployment's state in a table.
pub(crate) fn state_cell(state: DeploymentState) -> Cell {
    let colour = match state {
        DeploymentState::Active => Colour::Good,
        DeploymentState::Pending
        | DeploymentState::Starting
        | DeploymentState::Draining
        | DeploymentState::TearingDown => Colour::Busy,
        DeploymentState::Failed => Colour::Bad,
        DeploymentState::Retired
        | DeploymentState::TornDown
        | DeploymentState::Superseded
        | DeploymentState::Unchanged
        | DeploymentState::Cancelled => Colour::Faint,
    };
    Cell::painted(state.as_str().replace('_', " "), colour)
}

fn health(health: Option<Health>) -> Cell {
    match health {
        Some(Health::Healthy) => Cell::painted("healthy", Colour::Good),
        Some(Health::Unhealthy) => Cell::painted("unhealthy", Colour::Bad),
        Some(Health::Down) => Cell::painted("down", Colour::Bad),
        Some(Health::Starting) => Cell::painted("starting", Colour::Busy),
        Some(Health::Asleep) => Cell::painted("asleep", Colour::Faint),
        Some(Health::Unknown) => Cell::painted("unknown", Colour::Busy),
        None => Cell::painted("-", Colour::Faint),
    }
}
