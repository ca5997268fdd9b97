//! The route table, written from the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use kennel_core::config::{Addresses, ProjectConfig};
use kennel_core::{
    DeploymentId, Guard, HostPattern, OutputKey, PathRoute, ProjectName, RouteOutput, RouteTable,
    Settings, Target,
};
use kennel_store::{Deployment, Https};
use rustix::fs::FlockOperation;
use tokio::time::{Instant, sleep as pause};

use crate::access::{self, Access};
use crate::recreate::Held;
use crate::{DeployError, Host, domain, file, recreate, router, sleep};

/// Writes the table as the rows have it now and waits until the router has it.
pub(crate) async fn publish(host: &mut Host) -> Result<(), DeployError> {
    let generation = write(host)?;
    router::load(host, generation).await
}

/// Writes the table as the rows have it now. Returns its generation, for [`router::load`].
pub(crate) fn write(host: &mut Host) -> Result<u64, DeployError> {
    // Rows are read and the file is replaced under one lock: whoever writes later has read later.
    let _lock = file::lock(&host.layout.route_lock(), FlockOperation::LockExclusive)?;
    let (generation, deployments) = host.state.publication()?;
    let (table, access) = render(host, generation, &deployments)?;
    replace(host, &table, access)?;
    Ok(generation)
}

/// Writes the table only if it says something else than the file that is there. Says whether it
/// did; then the router must load it.
pub(crate) async fn publish_if_changed(host: &mut Host) -> Result<bool, DeployError> {
    let written = {
        let _lock = file::lock(&host.layout.route_lock(), FlockOperation::LockExclusive)?;
        let (generation, deployments) = host.state.publication()?;
        let (table, access) = render(host, generation, &deployments)?;
        let says_so = |current: RouteTable| RouteTable { generation, ..current } == table;
        if current(host).is_some_and(says_so) {
            None
        } else {
            replace(host, &table, access)?;
            Some(generation)
        }
    };
    let Some(generation) = written else { return Ok(false) };
    router::load(host, generation).await?;
    Ok(true)
}

/// Publishes what a project's file or a person's wish has changed about routes, though nothing is
/// deployed.
///
/// # Errors
/// Any [`DeployError`]; what was wished is tried again by the dispatcher.
pub async fn refresh(host: &mut Host) -> Result<(), DeployError> {
    access::keep_projects(&host.layout)?;
    // Before rows are read: what is wished since then is another time's.
    let wanted = host.state.routes_wanted()?;
    if !publish_if_changed(host).await?
        && let Some(table) = current(host)
    {
        // Killed before the router had it, an earlier run has left it for this one.
        router::load(host, table.generation).await?;
    }
    if let Some(wanted) = wanted {
        host.state.routes_published(wanted)?;
    }
    Ok(())
}

/// How long nothing must have changed until [`refresh_on_change`] is done.
const QUIET: Duration = Duration::from_secs(1);

/// Between two looks for a change.
const LOOK: Duration = Duration::from_millis(50);

/// As [`refresh`], for a path unit: that one hears of no change while what it has started runs, so that
/// this looks for more itself, until there has been none for a second.
///
/// # Errors
/// As [`refresh`].
pub async fn refresh_on_change(host: &mut Host) -> Result<(), DeployError> {
    loop {
        let known = files(host);
        refresh(host).await?;
        let quiet = Instant::now() + QUIET;
        while files(host) == known && host.state.routes_wanted()?.is_none() {
            if Instant::now() >= quiet {
                return Ok(());
            }
            pause(LOOK).await;
        }
    }
}

/// What tells the projects' files from what they were. One that cannot be looked at is not there.
fn files(host: &Host) -> BTreeSet<(PathBuf, u64, i64, i64)> {
    let entries = fs::read_dir(host.layout.projects()).into_iter().flatten().flatten();
    let stamp = |entry: fs::DirEntry| {
        // The file that a link leads to.
        let found = fs::metadata(entry.path()).ok()?;
        Some((entry.path(), found.ino(), found.ctime(), found.ctime_nsec()))
    };
    entries.filter_map(stamp).collect()
}

/// Whether the table that the router has, or will read, leads to this deployment.
pub(crate) fn lead_to(host: &Host, id: DeploymentId) -> bool {
    let Some(table) = current(host) else { return true };
    table.hosts.values().flatten().any(|route| route.target.deployment() == Some(id))
}

fn current(host: &Host) -> Option<RouteTable> {
    let text = fs::read_to_string(host.layout.route_table()).ok()?;
    serde_json::from_str(&text).ok()
}

fn replace(host: &Host, table: &RouteTable, access: Access) -> Result<(), DeployError> {
    access.write(&host.layout, current(host).as_ref())?;
    let path = host.layout.route_table();
    let text = serde_json::to_string_pretty(table)
        .map_err(|error| DeployError::file("write", &path)(error.into()))?;
    file::replace(&path, &text, 0o644)
}

fn render(
    host: &Host,
    generation: u64,
    deployments: &[Deployment],
) -> Result<(RouteTable, Access), DeployError> {
    let mut access = Access::read(host)?;
    let mut table = RouteTable::empty(generation);
    let held = recreate::held(host)?;
    table.tls = host.config.tls.clone();
    table.router = host.config.router.clone();
    let mut projects = Projects::new();
    let mut guards: BTreeMap<&OutputKey, Guard> = BTreeMap::new();
    for deployment in deployments {
        let project = &deployment.key.project;
        let config = projects
            .entry(project.clone())
            .or_insert_with(|| access::project(&host.layout, project));
        let guard = access.guard(host, deployment, config.as_ref())?;
        guards.insert(&deployment.key, guard);
    }
    let by_key: BTreeMap<&OutputKey, &Deployment> =
        deployments.iter().map(|deployment| (&deployment.key, deployment)).collect();
    for deployment in deployments {
        let to = |it: &Deployment, prefix: &str| {
            Some(route(host, it, prefix, target(host, it, &held, &projects)?))
        };
        let Some(routes) = routes(deployment, &by_key, &guards, to) else { continue };
        let mut names = vec![HostPattern::from(deployment.host(&host.config.base_domain)?)];
        let config = projects.get(&deployment.key.project).and_then(Option::as_ref);
        if let Some(wanted) = config.and_then(|config| domain::wanted(deployment, config)) {
            for name in &wanted.redirect_from {
                let guard = guards.get(&deployment.key).cloned().unwrap_or_default();
                table.hosts.insert(name.clone(), elsewhere(wanted, guard));
            }
            names.extend(wanted.custom_domain.clone());
        }
        table.hosts.extend(names.into_iter().map(|name| (name, routes.clone())));
    }
    // Last, so that no custom domain takes its place.
    table.hosts.insert(host.config.control_host.clone().into(), control(host));
    Ok((table, access))
}

/// Who answers under a deployment's own hosts: itself, and those to whom its paths lead.
fn routes(
    deployment: &Deployment,
    by_key: &BTreeMap<&OutputKey, &Deployment>,
    guards: &BTreeMap<&OutputKey, Guard>,
    to: impl Fn(&Deployment, &str) -> Option<PathRoute>,
) -> Option<Vec<PathRoute>> {
    let own = guards.get(&deployment.key).cloned().unwrap_or_default();
    let mut routes = vec![PathRoute { guard: own.clone(), ..to(deployment, "/")? }];
    for (prefix, below) in deployment.settings.addresses().into_iter().flat_map(|it| &it.routes) {
        let key = OutputKey { service: below.to.clone(), ..deployment.key.clone() };
        let other = by_key.get(&key).and_then(|other| to(other, prefix.as_str()));
        let other = other.unwrap_or_else(|| PathRoute {
            output: Some(RouteOutput::from(&key)),
            ..PathRoute::new(prefix.as_str(), Target::Absent)
        });
        let mut guard = own.clone();
        // A host that is under maintenance is so as a whole; one that is not has paths that are.
        if guard.maintenance.is_none() {
            guard.maintenance = guards.get(&key).and_then(|it| it.maintenance.clone());
        }
        routes.push(PathRoute { strip: below.strip_prefix, guard, ..other });
    }
    Some(routes)
}

/// The way to a deployment.
fn route(host: &Host, deployment: &Deployment, prefix: &str, target: Target) -> PathRoute {
    PathRoute {
        output: Some(RouteOutput::from(&deployment.key)),
        limits: deployment.settings.request_limits().within(host.config.max_body),
        ..PathRoute::new(prefix, target)
    }
}

fn elsewhere(wanted: &Addresses, guard: Guard) -> Vec<PathRoute> {
    // Nobody is sent to all hosts of a domain.
    let Some(HostPattern::Host(to)) = wanted.custom_domain.clone() else { return Vec::new() };
    vec![PathRoute { guard, ..PathRoute::new("/", Target::Redirect { to }) }]
}

/// Projects' files, as far as they can be read.
type Projects = BTreeMap<ProjectName, Option<ProjectConfig>>;

fn target(
    host: &Host,
    deployment: &Deployment,
    held: &Held,
    projects: &Projects,
) -> Option<Target> {
    let project = projects.get(&deployment.key.project).and_then(Option::as_ref);
    let sleeps = sleep::after_in(host, deployment, project).is_some();
    let bell = || host.layout.wake_socket(deployment.id).display().to_string();
    Some(match &deployment.settings {
        Settings::Service(service) => Target::Service {
            deployment: deployment.id,
            port: deployment.port?,
            health_check: service.health_check.to_string(),
            fork: deployment.fork,
            protocol: service.protocol,
            drain_secs: Some(service.drain.unwrap_or(host.config.drain).as_secs()),
            held: held.get(&deployment.key).is_some_and(|holder| *holder != deployment.id),
            counted: sleeps || recreate::is_alone(deployment),
            wake: sleeps.then(bell),
        },
        Settings::Worker(_) | Settings::Timer(_) => return None,
        Settings::Site(site) => Target::Site {
            deployment: deployment.id,
            root: deployment.store_path.clone(),
            spa: site.spa,
            drain_secs: host.config.drain.as_secs(),
        },
    })
}

fn control(host: &Host) -> Vec<PathRoute> {
    let to = |prefix: &str, socket: PathBuf| {
        PathRoute::new(prefix, Target::Socket { path: socket.display().to_string() })
    };
    let (webhook, api) = (host.layout.webhook_socket(), host.layout.api_socket());
    vec![
        to("/webhook/", webhook),
        to("/api/", api.clone()),
        to("/builds/", api.clone()),
        to("/health", api.clone()),
        to("/metrics", api),
    ]
}

/// Where people reach a deployment.
pub(crate) fn url(host: &Host, deployment: &Deployment) -> Result<String, DeployError> {
    let name = deployment.host(&host.config.base_domain)?;
    Ok(Https::look(&host.layout, &host.config).url(&name.into()))
}
