//! Whether the host has what the rows say.

use std::path::Path;

use kennel_core::{DeploymentId, HostPattern, StorePath, UnitName};

use super::RESTORE;
use crate::doctor::finding::Finding;

const UNITS: &str = "deployments.units";
const FILES: &str = "deployments.files";
const ROUTES: &str = "deployments.routes";
const JOBS: &str = "deployments.jobs";
const DRAINS: &str = "deployments.drains";
const QUEUE: &str = "deployments.queue";
const DISPATCH: &str = "systemctl start kennel-dispatch";

pub(in crate::doctor) fn rows_unread(why: &str) -> Finding {
    Finding::skipped("deployments.rows", format!("the rows cannot be read: {why}"))
}

pub(in crate::doctor) fn units_match(serving: usize) -> Finding {
    Finding::ok(
        UNITS,
        format!("{serving} services serve, each with its unit, and no unit without one"),
    )
}

pub(in crate::doctor) fn unit_files_match(serving: usize) -> Finding {
    Finding::ok(
        UNITS,
        format!("{serving} services serve, each with its unit's file, and no file without one"),
    )
}

pub(in crate::doctor) fn unit_file_missing(unit: &UnitName, key: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} serves, and the file of {unit} is missing")).run(RESTORE)
}

pub(in crate::doctor) fn slice_file_missing(slice: &UnitName) -> Finding {
    let problem =
        format!("the file of {slice} is missing, so that its limits and weight do not count");
    Finding::failure(UNITS, problem).run(RESTORE)
}

pub(in crate::doctor) fn unit_file_changed(unit: &UnitName) -> Finding {
    Finding::warning(UNITS, format!("systemd knows an older file of {unit}"))
        .run("systemctl daemon-reload")
}

pub(in crate::doctor) fn unit_stopped(unit: &UnitName, key: &str, state: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} should serve, and {unit} is {state}")).run(RESTORE)
}

pub(in crate::doctor) fn unit_restarts(unit: &UnitName, key: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} should serve, and ends again and again"))
        .run(format!("journalctl --unit {unit} --lines 30 --no-pager"))
}

pub(in crate::doctor) fn unit_without_row(path: &Path) -> Finding {
    Finding::failure(UNITS, format!("{} is a deployment's that no longer is", path.display()))
        .run(RESTORE)
}

pub(in crate::doctor) fn files_match() -> Finding {
    Finding::ok(FILES, "environments, GC roots and site links are those of the rows")
}

pub(in crate::doctor) fn root_missing(key: &str, id: DeploymentId) -> Finding {
    Finding::failure(
        FILES,
        format!("{key} serves without its GC root /nix/var/nix/gcroots/kennel/{id}: a garbage collection would remove it"),
    )
    .run(RESTORE)
}

pub(in crate::doctor) fn kept_root_missing(key: &str, id: DeploymentId) -> Finding {
    let sentence = format!("deployment {id} of {key} is kept for a rollback, and has no GC root");
    Finding::warning(FILES, sentence).run(RESTORE)
}

pub(in crate::doctor) fn kept_path_missing(key: &str, id: DeploymentId) -> Finding {
    let sentence = format!("deployment {id} of {key} cannot be gone back to: its files are gone");
    Finding::warning(FILES, sentence).by_hand("choose another, see `kennelctl history`")
}

pub(in crate::doctor) fn root_without_row(id: DeploymentId) -> Finding {
    let sentence =
        format!("the GC root /nix/var/nix/gcroots/kennel/{id} keeps what no deployment needs");
    Finding::warning(FILES, sentence).run(RESTORE)
}

pub(in crate::doctor) fn store_path_missing(key: &str, path: &StorePath) -> Finding {
    Finding::failure(FILES, format!("{key} should serve {path}, which is gone"))
        .by_hand("push it again, so that it is built again")
}

pub(in crate::doctor) fn env_file_missing(key: &str, name: &str) -> Finding {
    Finding::failure(
        FILES,
        format!("the environment of {key}, /run/kennel/secrets/{name}, is missing"),
    )
    .run(RESTORE)
}

pub(in crate::doctor) fn env_file_without_row(name: &str) -> Finding {
    Finding::warning(FILES, format!("/run/kennel/secrets/{name} belongs to no deployment"))
        .run(RESTORE)
}

pub(in crate::doctor) fn site_link_wrong(key: &str) -> Finding {
    Finding::failure(FILES, format!("the link of site {key} does not lead to what it serves"))
        .run(RESTORE)
}

pub(in crate::doctor) fn data_without_row(link: &Path) -> Finding {
    let (place, name) = (link.display(), link.file_name().unwrap_or_default().display());
    Finding::warning(FILES, format!("{place} has files of a service that is no more"))
        .by_hand(format!("look at them, then `rm -r {place} /var/lib/private/kennel/data/{name}`"))
}

pub(in crate::doctor) fn site_without_row(link: &Path) -> Finding {
    let place = link.display();
    Finding::warning(FILES, format!("{place} belongs to no deployment")).run(format!("rm {place}"))
}

pub(in crate::doctor) fn routes_match() -> Finding {
    Finding::ok(ROUTES, "the route table leads to what serves")
}

pub(in crate::doctor) fn table_missing(routed: usize) -> Finding {
    let sentence = format!("{routed} deployments should have routes, and there is no route table");
    Finding::failure(ROUTES, sentence).run(RESTORE)
}

pub(in crate::doctor) fn table_unreadable(why: &str) -> Finding {
    let sentence = format!("/var/lib/kennel/routes/routes.json cannot be read: {why}");
    Finding::failure(ROUTES, sentence).run(RESTORE)
}

pub(in crate::doctor) fn route_to_nobody(host: &HostPattern, id: DeploymentId) -> Finding {
    Finding::failure(ROUTES, format!("{host} leads to deployment {id}, which does not serve"))
        .run(RESTORE)
}

pub(in crate::doctor) fn not_routed(key: &str) -> Finding {
    Finding::failure(ROUTES, format!("{key} serves, and no route leads to it")).run(RESTORE)
}

pub(in crate::doctor) fn jobs_match() -> Finding {
    Finding::ok(JOBS, "whatever is said to run has its unit")
}

pub(in crate::doctor) fn job_missing(what: &str, state: &str, unit: &UnitName) -> Finding {
    Finding::failure(JOBS, format!("{what} is marked as {state}, and {unit} does not run"))
        .run(DISPATCH)
}

pub(in crate::doctor) fn drains_match() -> Finding {
    Finding::ok(DRAINS, "whatever was replaced ends in time")
}

pub(in crate::doctor) fn drain_overdue(
    key: &str,
    id: DeploymentId,
    when: &str,
    unit: &UnitName,
) -> Finding {
    let sentence = format!("deployment {id} of {key} should have ended {when} and still drains");
    Finding::failure(DRAINS, sentence).run(format!("systemctl start {unit}"))
}

pub(in crate::doctor) fn timer_without_row(timer: &str) -> Finding {
    Finding::warning(DRAINS, format!("{timer} waits to end what does not drain"))
        .run(format!("systemctl stop {timer}"))
}

pub(in crate::doctor) fn queue_moves(queued: usize) -> Finding {
    Finding::ok(
        QUEUE,
        match queued {
            0 => "nothing waits".to_owned(),
            1 => "1 build waits for its turn".to_owned(),
            n => format!("{n} builds wait for their turn"),
        },
    )
}

pub(in crate::doctor) fn events_wait(count: usize) -> Finding {
    let events =
        if count == 1 { "1 event waits".to_owned() } else { format!("{count} events wait") };
    Finding::failure(QUEUE, format!("{events} for the dispatcher, which should look every minute"))
        .run(DISPATCH)
}

pub(in crate::doctor) fn builds_wait(ids: &[String]) -> Finding {
    let (first, others) = (ids.first().map_or("", String::as_str), ids.len().saturating_sub(1));
    let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Finding::failure(QUEUE, format!("build {first}{others} waits although nothing is built"))
        .run(DISPATCH)
}

pub(in crate::doctor) fn deployments_wait(ids: &[String]) -> Finding {
    let (first, others) = (ids.first().map_or("", String::as_str), ids.len().saturating_sub(1));
    let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Finding::failure(
        QUEUE,
        format!("deployment {first}{others} waits although nothing is deployed"),
    )
    .run(DISPATCH)
}

/// In the order of their checks, whatever order they were found in.
pub(in crate::doctor) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    const ORDER: [&str; 6] = [UNITS, FILES, ROUTES, JOBS, DRAINS, QUEUE];
    findings.sort_by_key(|finding| ORDER.iter().position(|check| *check == finding.check));
    findings
}
