//! The route table, written from the rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use kennel_core::config::{Addresses, ProjectConfig};
use kennel_core::{DeploymentId, OutputKey, PathRoute, ProjectName, RouteTable, Settings, Target};
use kennel_store::{Deployment, Https, load_project};
use rustix::fs::FlockOperation;
use tracing::warn;

use crate::{DeployError, Host, domain, file, router};

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
        let says_so =
            |current: RouteTable| (&current.hosts, &current.tls) == (&table.hosts, &table.tls);
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
    table.tls = host.config.tls.clone();
    let mut projects: BTreeMap<ProjectName, Option<ProjectConfig>> = BTreeMap::new();
    let by_key: BTreeMap<&OutputKey, &Deployment> =
        deployments.iter().map(|deployment| (&deployment.key, deployment)).collect();
    for deployment in deployments {
        let Some(routes) = routes(host, deployment, &by_key) else { continue };
        let mut names = vec![deployment.host(&host.config.base_domain)?];
        let project = &deployment.key.project;
        let config = projects.entry(project.clone()).or_insert_with(|| {
            load_project(&host.layout, project)
                .inspect_err(|error| {
                    warn!("{error}, ignoring: {project} keeps its routes but its custom domains");
                })
                .ok()
        });
        if let Some(wanted) = config.as_ref().and_then(|config| domain::wanted(deployment, config))
        {
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
    host: &Host,
    deployment: &Deployment,
    by_key: &BTreeMap<&OutputKey, &Deployment>,
) -> Option<Vec<PathRoute>> {
    let itself = target(host, deployment)?;
    let mut routes = vec![PathRoute { prefix: "/".into(), strip: false, target: itself }];
    for (prefix, below) in deployment.settings.addresses().into_iter().flat_map(|it| &it.routes) {
        let key = OutputKey { service: below.to.clone(), ..deployment.key.clone() };
        let other = by_key.get(&key).and_then(|other| target(host, other));
        let target = other.unwrap_or(Target::Absent);
        let strip = below.strip_prefix;
        routes.push(PathRoute { prefix: prefix.to_string(), strip, target });
    }
    Some(routes)
}

fn elsewhere(wanted: &Addresses) -> Vec<PathRoute> {
    let to = wanted.custom_domain.clone().into_iter();
    to.map(|to| PathRoute { prefix: "/".into(), strip: false, target: Target::Redirect { to } })
        .collect()
}

fn target(host: &Host, deployment: &Deployment) -> Option<Target> {
    Some(match &deployment.settings {
        Settings::Service(service) => Target::Service {
            deployment: deployment.id,
            port: deployment.port?,
            health_check: service.health_check.to_string(),
            fork: deployment.fork,
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
    let to = |prefix: &str, socket: PathBuf| PathRoute {
        prefix: prefix.into(),
        strip: false,
        target: Target::Socket { path: socket.display().to_string() },
    };
    let (webhook, api) = (host.layout.webhook_socket(), host.layout.api_socket());
    vec![
        to("/webhook/", webhook),
        to("/api/", api.clone()),
        to("/builds/", api.clone()),
        to("/health", api),
    ]
}

/// Where people reach a deployment.
pub(crate) fn url(host: &Host, deployment: &Deployment) -> Result<String, DeployError> {
    let name = deployment.host(&host.config.base_domain)?;
    Ok(Https::look(&host.layout, &host.config).url(&name))
}
