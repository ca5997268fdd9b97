//! The rows against the world, both ways: what shall be there and is not, what is there and has no
//! row.
//!
//! The host works while it is looked at, and a job that ends between two looks reads like a fault.
//! What seems wrong is therefore looked at twice, and counts if it is wrong both times.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_core::{
    BuildState, DeploymentId, DeploymentState, Job, Layout, OutputKind, RouteTable, Timestamp,
    UnitName,
};
use kennel_store::{Build, Deployment, PreviewDatabase};
use kennel_systemd::{deployment_of, is_own_slice};

use super::facts::Facts;
use super::finding::{Finding, Mark, or_ok};
use super::say;
use super::units::Units;
use crate::clock;
use crate::host::Host;

/// Long enough for a job that was ending to have ended.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The dispatcher looks at its rows every minute; after two, nobody does.
const OVERDUE: Duration = Duration::from_secs(120);

/// More waiting rows tell nothing new.
const MOST_WAITING: u32 = 1000;

/// What the databases say, as far as it can differ from the world.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Those that may have something on the host, oldest first.
    pub(super) deployments: Vec<Deployment>,
    builds: Vec<Build>,
    /// Preview databases that branches have, or are about to have.
    pub(super) databases: Vec<PreviewDatabase>,
    /// When each event came that nobody has taken.
    waiting: Vec<Timestamp>,
}

/// What is on the host; none where it may not be looked at.
#[derive(Debug, Default)]
struct World {
    unit_dir: PathBuf,
    /// Unit files that say whose they are.
    units: BTreeMap<String, DeploymentId>,
    /// Unit files of slices that Kennel wrote.
    slices: BTreeSet<UnitName>,
    env_files: Option<BTreeMap<String, Option<DeploymentId>>>,
    roots: BTreeMap<DeploymentId, PathBuf>,
    /// Links of sites, and where they lead.
    sites: BTreeMap<PathBuf, PathBuf>,
    /// Links of services' state directories.
    data: Vec<PathBuf>,
    /// None before the first publication; otherwise the table, or why it cannot be read.
    table: Option<Result<RouteTable, String>>,
}

impl Rows {
    /// Reads all three databases; one without rows yet has none.
    pub(super) fn read(host: &Host) -> Result<Self, String> {
        let why = |failure: crate::failure::Failure| failure.chain();
        let refused = |error: kennel_store::StoreError| kennel_core::error_chain(&error);
        let mut rows = Self::default();
        if let Some(state) = host.state().map_err(why)? {
            rows.deployments = state.holding().map_err(refused)?;
            rows.databases = state.preview_databases().map_err(refused)?;
        }
        if let Some(builds) = host.builds().map_err(why)? {
            rows.builds = builds.unfinished().map_err(refused)?;
        }
        if let Some(inbox) = host.inbox().map_err(why)? {
            let waiting = inbox.waiting(MOST_WAITING).map_err(refused)?;
            rows.waiting = waiting.into_iter().map(|entry| entry.delivery.received_at).collect();
        }
        Ok(rows)
    }
}

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let rows = match &facts.rows {
        Ok(rows) => rows,
        Err(why) => return vec![say::rows_unread(why)],
    };
    let unit_dir = facts.config.as_ref().map(|config| config.unit_dir.clone());
    let unit_dir = unit_dir.unwrap_or_else(|| "/etc/systemd/system".into());
    let look = |rows: &Rows, units: Option<&Units>| {
        let world = World::look(&facts.host.layout, &unit_dir);
        judge(&facts.host.layout, rows, &world, units, clock::now())
    };
    let first = look(rows, facts.units.as_ref().ok());
    let is_good = |finding: &Finding| matches!(finding.mark, Mark::Ok | Mark::Skipped);
    if !facts.host.is_live || first.iter().all(is_good) {
        return first;
    }
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let host = facts.host.clone();
    let again = tokio::task::spawn_blocking(move || Rows::read(&host));
    let (again, units) = tokio::join!(again, Units::ask());
    let Ok(Ok(again)) = again else { return first };
    let mut second = look(&again, units.as_ref().ok());
    // What the first look did not find may be something that only just began.
    second.retain(|finding| is_good(finding) || first.contains(finding));
    for finding in first {
        if is_good(&finding) && !second.iter().any(|it| it.check == finding.check) {
            second.push(finding);
        }
    }
    say::sorted(second)
}

impl World {
    fn look(layout: &Layout, unit_dir: &Path) -> Self {
        let unit_dir = layout.host_path(unit_dir);
        let mut world = Self::default();
        for name in names_in(&unit_dir).unwrap_or_default() {
            // Not everything that lies there is a file of text, or ours to read.
            let text = name
                .starts_with("kennel-")
                .then(|| fs::read_to_string(unit_dir.join(&name)).ok())
                .flatten()
                .unwrap_or_default();
            if is_own_slice(&text) {
                world.slices.extend(name.parse().ok());
            } else {
                world.units.extend(deployment_of(&text).map(|id| (name, id)));
            }
        }
        world.env_files = names_in(&layout.env_dir()).ok().map(|names| {
            names
                .into_iter()
                .map(|name| (name.clone(), Layout::deployment_of_env_file(&name)))
                .collect()
        });
        let roots = layout.deployment_roots();
        for name in names_in(&roots).unwrap_or_default() {
            if let (Ok(id), Ok(target)) = (name.parse(), fs::read_link(roots.join(&name))) {
                world.roots.insert(id, target);
            }
        }
        let sites = layout.host_path(Path::new("/var/lib/kennel/sites"));
        for project in names_in(&sites).unwrap_or_default() {
            for branch in names_in(&sites.join(&project)).unwrap_or_default() {
                let branch = sites.join(&project).join(branch);
                for link in names_in(&branch).unwrap_or_default() {
                    let link = branch.join(link);
                    world.sites.extend(fs::read_link(&link).ok().map(|target| (link, target)));
                }
            }
        }
        let data = layout.host_path(Path::new("/var/lib/kennel/data"));
        world.data =
            names_in(&data).unwrap_or_default().iter().map(|name| data.join(name)).collect();
        world.table = match fs::read_to_string(layout.route_table()) {
            Ok(text) => Some(serde_json::from_str(&text).map_err(|error| error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(error.to_string())),
        };
        world.unit_dir = unit_dir;
        world
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.flatten();
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn judge(
    layout: &Layout,
    rows: &Rows,
    world: &World,
    units: Option<&Units>,
    now: Timestamp,
) -> Vec<Finding> {
    let services = rows.deployments.iter().filter(|it| it.settings.kind().has_unit());
    let mut findings = or_ok(unit_findings(layout, rows, world, units), || {
        let serving = services.filter(|it| it.state == DeploymentState::Active).count();
        if units.is_some() { say::units_match(serving) } else { say::unit_files_match(serving) }
    });
    findings.extend(or_ok(file_findings(layout, rows, world), say::files_match));
    findings.extend(or_ok(route_findings(rows, world), say::routes_match));
    if let Some(units) = units {
        findings.extend(or_ok(job_findings(rows, units), say::jobs_match));
        findings.extend(or_ok(drain_findings(rows, units, now), say::drains_match));
        findings.extend(or_ok(queue_findings(rows, units, now), || {
            say::queue_moves(rows.builds.iter().filter(|it| it.state == BuildState::Queued).count())
        }));
    }
    findings
}

fn with_units(rows: &Rows) -> impl Iterator<Item = &Deployment> {
    let active = rows.deployments.iter().filter(|it| it.state == DeploymentState::Active);
    active.filter(|it| it.settings.kind().has_unit())
}

fn known(rows: &Rows) -> BTreeSet<DeploymentId> {
    rows.deployments.iter().map(|deployment| deployment.id).collect()
}

fn unit_findings(
    layout: &Layout,
    rows: &Rows,
    world: &World,
    units: Option<&Units>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for deployment in with_units(rows) {
        let (name, key) = (deployment.lasting_unit(), deployment.key.to_string());
        let mut files = deployment.units();
        files.retain(|file| !world.units.contains_key(file.as_str()));
        if !files.is_empty() {
            findings.extend(files.iter().map(|file| say::unit_file_missing(file, &key)));
            continue;
        }
        let Some(unit) = units.map(|units| units.get(name.as_str())) else { continue };
        match unit.map(|unit| (unit.active.as_str(), unit.sub.as_str())) {
            Some(("active" | "reloading", _)) => {
                if unit.is_some_and(|unit| unit.needs_reload) {
                    findings.push(say::unit_file_changed(&name));
                }
            }
            Some(("activating", "auto-restart")) => findings.push(say::unit_restarts(&name, &key)),
            Some(("activating", _)) => {}
            // It sleeps, and is woken by the next who asks for it.
            Some(("inactive", _)) | None
                if units.is_some_and(|it| it.is_active(deployment.wake_unit().as_str())) => {}
            Some((state, _)) => findings.push(say::unit_stopped(&name, &key, state)),
            None => findings.push(say::unit_stopped(&name, &key, "inactive")),
        }
    }
    let slices: BTreeSet<_> = with_units(rows).flat_map(Deployment::shared_slices).collect();
    findings.extend(slices.difference(&world.slices).map(say::slice_file_missing));
    let known = known(rows);
    let unit_dir = Path::new("/").join(
        world.unit_dir.strip_prefix(layout.host_path(Path::new("/"))).unwrap_or(&world.unit_dir),
    );
    for (name, _) in world.units.iter().filter(|(_, id)| !known.contains(id)) {
        findings.push(say::unit_without_row(&unit_dir.join(name)));
    }
    let slices: BTreeSet<_> = rows.deployments.iter().flat_map(Deployment::shared_slices).collect();
    for slice in world.slices.difference(&slices) {
        findings.push(say::unit_without_row(&unit_dir.join(slice.as_str())));
    }
    findings
}

fn file_findings(layout: &Layout, rows: &Rows, world: &World) -> Vec<Finding> {
    let known = known(rows);
    let mut findings = Vec::new();
    for deployment in rows.deployments.iter().filter(|it| it.state == DeploymentState::Active) {
        let (key, path) = (deployment.key.to_string(), &deployment.store_path);
        match world.roots.get(&deployment.id) {
            Some(target) if target == path.as_path() => {}
            Some(_) | None => findings.push(say::root_missing(&key, deployment.id)),
        }
        if !layout.store(path).exists() {
            findings.push(say::store_path_missing(&key, path));
        }
        match deployment.settings.kind() {
            OutputKind::Service | OutputKind::Worker | OutputKind::Timer => {
                let file = layout.env_file(&deployment.unit());
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                if world.env_files.as_ref().is_some_and(|files| !files.contains_key(&*name)) {
                    findings.push(say::env_file_missing(&key, &name));
                }
            }
            OutputKind::Site => {
                let link = layout.site(
                    &deployment.key.project,
                    &deployment.names.slug,
                    &deployment.key.service,
                );
                // The next one moves the link, and serves from then on.
                let next = rows
                    .deployments
                    .iter()
                    .filter(|it| it.state == DeploymentState::Starting && it.key == deployment.key);
                let mut right = next.map(|it| &it.store_path).chain([path]);
                let target = world.sites.get(&link);
                if target.is_none_or(|target| right.all(|path| path.as_path() != target)) {
                    findings.push(say::site_link_wrong(&key));
                }
            }
        }
    }
    for deployment in rows.deployments.iter().filter(|it| it.state.is_kept()) {
        let (id, key) = (deployment.id, deployment.key.to_string());
        if !layout.store(&deployment.store_path).exists() {
            findings.push(say::kept_path_missing(&key, id));
        } else if world.roots.get(&id).map(PathBuf::as_path)
            != Some(deployment.store_path.as_path())
        {
            findings.push(say::kept_root_missing(&key, id));
        }
    }
    for (name, of) in world.env_files.iter().flatten() {
        if of.is_none_or(|id| !known.contains(&id)) {
            findings.push(say::env_file_without_row(name));
        }
    }
    for id in world.roots.keys().filter(|id| !known.contains(id)) {
        findings.push(say::root_without_row(*id));
    }
    let sites: BTreeSet<_> = rows
        .deployments
        .iter()
        .filter(|it| it.settings.kind() == OutputKind::Site)
        .map(|it| layout.site(&it.key.project, &it.names.slug, &it.key.service))
        .collect();
    findings.extend(
        world
            .sites
            .keys()
            .filter(|link| !sites.contains(*link))
            .map(|link| say::site_without_row(link)),
    );
    let data: BTreeSet<_> = rows.deployments.iter().map(|it| layout.data(&it.names.user)).collect();
    findings.extend(
        world.data.iter().filter(|it| !data.contains(*it)).map(|it| say::data_without_row(it)),
    );
    findings
}

fn route_findings(rows: &Rows, world: &World) -> Vec<Finding> {
    // The newest of each service that shall be routed, as kennel-deploy publishes them.
    let mut routed = BTreeMap::new();
    for deployment in rows.deployments.iter().filter(|it| it.routed) {
        if matches!(deployment.state, DeploymentState::Starting | DeploymentState::Active) {
            routed.insert(&deployment.key, deployment.id);
        }
    }
    let table = match &world.table {
        None if routed.is_empty() => return Vec::new(),
        None => return vec![say::table_missing(routed.len())],
        Some(Err(why)) => return vec![say::table_unreadable(why)],
        Some(Ok(table)) => table,
    };
    let mut findings = Vec::new();
    let mut led_to = BTreeSet::new();
    for (host, route) in
        table.hosts.iter().flat_map(|(host, all)| all.iter().map(move |it| (host, it)))
    {
        let Some(id) = route.target.deployment() else { continue };
        led_to.insert(id);
        if !routed.values().any(|it| *it == id) {
            findings.push(say::route_to_nobody(host, id));
        }
    }
    for (key, _) in routed.iter().filter(|(_, id)| !led_to.contains(id)) {
        findings.push(say::not_routed(&key.to_string()));
    }
    findings
}

fn job_findings(rows: &Rows, units: &Units) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expect = |job: Job, what: &str, state: &str| {
        let unit = job.unit();
        if !units.is_busy(unit.as_str()) {
            findings.push(say::job_missing(what, state, &unit));
        }
    };
    for build in rows.builds.iter().filter(|it| it.state == BuildState::Building) {
        expect(Job::Build(build.id), &format!("build {}", build.id), "building");
    }
    for deployment in &rows.deployments {
        let (id, key) =
            (deployment.id, format!("deployment {} of {}", deployment.id, deployment.key));
        match deployment.state {
            DeploymentState::Starting => expect(Job::Deploy(id), &key, "starting"),
            DeploymentState::TearingDown => expect(Job::Teardown(id), &key, "tearing_down"),
            DeploymentState::Pending
            | DeploymentState::Active
            | DeploymentState::Draining
            | DeploymentState::Retired
            | DeploymentState::TornDown
            | DeploymentState::Failed
            | DeploymentState::Superseded
            | DeploymentState::Unchanged
            | DeploymentState::Cancelled => {}
        }
    }
    findings
}

fn drain_findings(rows: &Rows, units: &Units, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut draining = BTreeSet::new();
    for deployment in rows.deployments.iter().filter(|it| it.state == DeploymentState::Draining) {
        draining.insert(UnitName::teardown_timer(deployment.id).as_str().to_owned());
        let teardown = Job::Teardown(deployment.id).unit();
        if let Some(until) = deployment.drain_until
            && now.since(until) > OVERDUE
            && !units.is_busy(teardown.as_str())
        {
            let when = clock::ago(until, now);
            findings.push(say::drain_overdue(
                &deployment.key.to_string(),
                deployment.id,
                &when,
                &teardown,
            ));
        }
    }
    for timer in units.0.keys() {
        let is_teardown = timer.starts_with("kennel-teardown@") && timer.ends_with(".timer");
        if is_teardown && units.is_busy(timer) && !draining.contains(timer) {
            findings.push(say::timer_without_row(timer));
        }
    }
    findings
}

fn queue_findings(rows: &Rows, units: &Units, now: Timestamp) -> Vec<Finding> {
    let late = |since: Timestamp| now.since(since) > OVERDUE;
    let mut findings = Vec::new();
    let late_events = rows.waiting.iter().filter(|since| late(**since)).count();
    if late_events > 0 {
        findings.push(say::events_wait(late_events));
    }
    let any = |template: &str| {
        units.0.keys().any(|name| name.starts_with(template) && units.is_busy(name))
    };
    let queued =
        rows.builds.iter().filter(|it| it.state == BuildState::Queued && late(it.queued_at));
    let queued: Vec<_> = queued.map(|it| it.id.to_string()).collect();
    if !queued.is_empty() && !any("kennel-build@") {
        findings.push(say::builds_wait(&queued));
    }
    let pending = rows
        .deployments
        .iter()
        .filter(|it| it.state == DeploymentState::Pending && late(it.created_at));
    let pending: Vec<_> = pending.map(|it| it.id.to_string()).collect();
    if !pending.is_empty() && !any("kennel-deploy@") {
        findings.push(say::deployments_wait(&pending));
    }
    findings
}

#[cfg(test)]
mod tests;
