//! The route table, written from the rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use kennel_core::config::{Addresses, ProjectConfig};
use kennel_core::{
    DeploymentId, OutputKey, PathRoute, ProjectName, RouteOutput, RouteTable, Settings, Target,
};
use kennel_store::{Deployment, Https, load_project};
use rustix::fs::FlockOperation;
use tracing::warn;

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
    let table = render(host, generation, &deployments)?;
    replace(host, &table)?;
    Ok(generation)
}

/// Writes the table only if it says something else than the file that is there. Says whether it
/// did; then the router must load it.
pub(crate) async fn publish_if_changed(host: &mut Host) -> Result<bool, DeployError> {
    let written = {
        let _lock = file::lock(&host.layout.route_lock(), FlockOperation::LockExclusive)?;
        let (generation, deployments) = host.state.publication()?;
        let table = render(host, generation, &deployments)?;
        let says_so = |current: RouteTable| RouteTable { generation, ..current } == table;
        if current(host).is_some_and(says_so) {
            None
        } else {
            replace(host, &table)?;
            Some(generation)
        }
    };
    let Some(generation) = written else { return Ok(false) };
    router::load(host, generation).await?;
    Ok(true)
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

fn replace(host: &Host, table: &RouteTable) -> Result<(), DeployError> {
    let path = host.layout.route_table();
    let text = serde_json::to_string_pretty(table)
        .map_err(|error| DeployError::file("write", &path)(error.into()))?;
    file::replace(&path, &text, 0o644)
}

fn render(
    host: &Host,
    generation: u64,
    deployments: &[Deployment],
) -> Result<RouteTable, DeployError> {
    let mut table = RouteTable::empty(generation);
    let held = recreate::held(host)?;
    table.tls = host.config.tls.clone();
    table.router = host.config.router.clone();
    let mut projects = Projects::new();
    for deployment in deployments {
        let project = &deployment.key.project;
        projects.entry(project.clone()).or_insert_with(|| {
            load_project(&host.layout, project)
                .inspect_err(|error| {
                    warn!("{error}, ignoring: {project} keeps its routes but its custom domains");
                })
                .ok()
        });
    }
    let by_key: BTreeMap<&OutputKey, &Deployment> =
        deployments.iter().map(|deployment| (&deployment.key, deployment)).collect();
    for deployment in deployments {
        let to = |it: &Deployment, prefix: &str| {
            Some(route(host, it, prefix, target(host, it, &held, &projects)?))
        };
        let Some(routes) = routes(deployment, &by_key, to) else { continue };
        let mut names = vec![deployment.host(&host.config.base_domain)?];
        let config = projects.get(&deployment.key.project).and_then(Option::as_ref);
        if let Some(wanted) = config.and_then(|config| domain::wanted(deployment, config)) {
            for name in &wanted.redirect_from {
                table.hosts.insert(name.clone(), elsewhere(wanted));
            }
            names.extend(wanted.custom_domain.clone());
        }
        table.hosts.extend(names.into_iter().map(|name| (name, routes.clone())));
    }
    // Last, so that no custom domain takes its place.
    table.hosts.insert(host.config.control_host.clone(), control(host));
    Ok(table)
}

/// Who answers under a deployment's own hosts: itself, and those to whom its paths lead.
fn routes(
    deployment: &Deployment,
    by_key: &BTreeMap<&OutputKey, &Deployment>,
    to: impl Fn(&Deployment, &str) -> Option<PathRoute>,
) -> Option<Vec<PathRoute>> {
    let mut routes = vec![to(deployment, "/")?];
    for (prefix, below) in deployment.settings.addresses().into_iter().flat_map(|it| &it.routes) {
        let key = OutputKey { service: below.to.clone(), ..deployment.key.clone() };
        let other = by_key.get(&key).and_then(|other| to(other, prefix.as_str()));
        let other = other.unwrap_or_else(|| PathRoute {
            output: Some(RouteOutput::from(&key)),
            ..PathRoute::new(prefix.as_str(), Target::Absent)
        });
        routes.push(PathRoute { strip: below.strip_prefix, ..other });
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

fn elsewhere(wanted: &Addresses) -> Vec<PathRoute> {
    let to = wanted.custom_domain.clone().into_iter();
    to.map(|to| PathRoute::new("/", Target::Redirect { to })).collect()
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
    Ok(Https::look(&host.layout, &host.config).url(&name))
}
