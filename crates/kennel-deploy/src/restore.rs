//! After a boot, or a crash: the world is made to match the rows, production first.
//!
//! Starts what must run and waits for no health: the router answers 503 until a service is up.
//! Running it twice changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kennel_core::{DeploymentId, DeploymentState, Layout, Port, UnitName};
use kennel_store::{Deployment, load_project};
use kennel_systemd::{deployment_of, is_own_slice, kill_point, ring, status};
use tracing::{error, info, warn};

use crate::listener::{self, Listener};
use crate::secrets::{self, Opener};
use crate::{
    DeployError, Host, access, clean_up, databases, env, file, recreate, routes, service, site,
    sleep, slices,
};

/// Makes units, files, links, GC roots and routes match the rows.
///
/// # Errors
/// [`DeployError`] if nothing could be compared at all; a single deployment that cannot be
/// restored is reported and stops no other.
pub async fn restore(host: &mut Host) -> Result<(), DeployError> {
    // Draining ones need nothing: after a reboot no connection of theirs is left, and the
    // dispatcher retires them when their time is over.
    let mut serving = host.state.in_states(&[DeploymentState::Active])?;
    serving.sort_by_key(|deployment| (!is_production(host, deployment), deployment.id));
    for deployment in
        host.state.in_states(&[DeploymentState::Draining, DeploymentState::Retired])?
    {
        if let Err(error) = keep(host, &deployment) {
            report(&deployment, &error);
        }
    }
    if let Err(error) = databases::restore(host).await {
        // Services that need one say so themselves, and a server that is down comes back.
        warn!("preview databases are not compared with their rows: {}", error.chain());
    }
    let mut outdated = false;
    let mut opener = Opener::default();
    for deployment in &serving {
        match prepare(host, &mut opener, deployment).await {
            Ok(changed) => outdated |= changed,
            Err(error) => report(deployment, &error),
        }
        kill_point!(RestoreWritten, &deployment.key.project);
    }
    drop(opener);
    if let Err(error) = access::keep_projects(&host.layout) {
        warn!("{}, ignoring: tried again by the next kennel-restore", error.chain());
    }
    let holding = host.state.holding()?;
    let deployed = holding.into_iter().map(|it| it.key.project).collect();
    access::forget_projects(&host.layout, &deployed);
    remove_strangers(host).await?;
    for deployment in &serving {
        kill_point!(StrangersRemoved, &deployment.key.project);
    }
    if outdated {
        // systemd knows some of the units by an older file; this is the one place for it.
        host.manager.reload_all().await?;
    }
    match routes::publish_if_changed(host).await {
        Ok(true) => info!("published the route table"),
        Ok(false) => {}
        Err(error) => error!("publishing routes: {}", error.chain()),
    }
    for deployment in &serving {
        kill_point!(RestorePublished, &deployment.key.project);
    }
    for deployment in &serving {
        if let Err(error) = start(host, deployment).await {
            report(deployment, &error);
        }
        kill_point!(RestoreStarted, &deployment.key.project);
    }
    if serving.iter().any(|deployment| sleep::after(host, deployment).is_some()) {
        sleep::watch(host).await;
    }
    status(&format!("{} deployments serve", serving.len()));
    if let Err(error) = ring(&host.layout.bell()) {
        warn!("{error}");
    }
    Ok(())
}

fn is_production(host: &Host, deployment: &Deployment) -> bool {
    load_project(&host.layout, &deployment.key.project)
        .is_ok_and(|project| deployment.key.git_ref.is_branch(&project.default_branch))
}

fn report(deployment: &Deployment, cause: &DeployError) {
    error!("restoring deployment {} of {}: {}", deployment.id, deployment.key, cause.chain());
}

/// What can be gone back to has its GC root, as long as its files are there.
fn keep(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    if host.layout.store(&deployment.store_path).exists() {
        file::replace_link(
            &host.layout.deployment_root(deployment.id),
            deployment.store_path.as_path(),
        )?;
    }
    Ok(())
}

/// Writes what is missing or differs. Returns whether systemd knows an older unit file.
///
/// An environment that is there stays as it is but for the port: secrets may have changed or gone
/// since, and that is the next deployment's business.
async fn prepare(
    host: &mut Host,
    opener: &mut Opener,
    deployment: &Deployment,
) -> Result<bool, DeployError> {
    let root = host.layout.deployment_root(deployment.id);
    file::replace_link(&root, deployment.store_path.as_path())?;
    let Some(manifest) = deployment.settings.program() else {
        site::restore(host, deployment)?;
        return Ok(false);
    };
    let port = match deployment.port {
        Some(port) if is_taken(host, deployment, port).await? => {
            let other = service::another_port(host, deployment)?;
            warn!("port {port} of {} is another program's; it gets port {other}", deployment.key);
            Some(other)
        }
        None if deployment.settings.kind().is_routed() => return Ok(false),
        port => port,
    };
    service::write_unit(host, deployment, manifest).await?;
    let environment = host.layout.env_file(&deployment.unit());
    if let Ok(text) = fs::read_to_string(&environment) {
        if let Some(port) = port {
            file::replace_other(&environment, &env::with_port(&text, port), 0o400)?;
        }
    } else {
        let written =
            secrets::grant(&host.layout, opener, deployment, manifest).and_then(|secrets| {
                let databases = databases::known(host, deployment, manifest)?;
                service::write_environment(host, deployment, manifest, &secrets, &databases, port)
            });
        if let Err(error) = written {
            report(deployment, &error);
        }
    }
    let mut outdated = slices::write(host, deployment).await?;
    for unit in deployment.units() {
        outdated = outdated || host.manager.is_outdated(unit.as_str()).await?;
    }
    Ok(outdated)
}

/// Whether another program listens on the port of a service that does not run, or not for long.
async fn is_taken(host: &Host, deployment: &Deployment, port: Port) -> Result<bool, DeployError> {
    let unit = deployment.unit();
    let service = host.manager.service(unit.as_str()).await?;
    if service.restarts == 0 && host.manager.state(unit.as_str()).await?.is_running() {
        return Ok(false);
    }
    let listener = listener::on(port, &service.control_group)
        .map_err(|source| DeployError::Listener { port, source })?;
    Ok(matches!(listener, Listener::Foreign(_)))
}

fn has_environment(host: &Host, deployment: &Deployment) -> bool {
    host.layout.env_file(&deployment.unit()).exists()
}

async fn start(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let unit = deployment.lasting_unit();
    if !deployment.settings.kind().has_unit() {
        return Ok(());
    }
    // Without its environment systemd would try it again and again; why it has none was reported.
    let state = host.manager.state(unit.as_str()).await?;
    if has_environment(host, deployment) && state.is_over() {
        // What has given way is started again by whoever made it, if at all.
        let Some(_turn) = recreate::turn_of_active(host, deployment).await? else { return Ok(()) };
        sleep::hang_bell(host, deployment).await?;
        if sleep::is_asleep(host, deployment).await? {
            return Ok(());
        }
        info!("starting {unit}");
        if state.active == "failed" {
            // One that did while its file was gone is known without its slice, and is refused.
            host.manager.reset_failed(unit.as_str()).await?;
        }
        let _lock = slices::hold(host, deployment).await?;
        host.manager.start_no_wait(unit.as_str()).await?;
    }
    // A job may have ended the deployment since its row was read; what was made since is removed.
    let serves = [DeploymentState::Active, DeploymentState::Draining];
    if serves.contains(&host.deployment(deployment.id)?.state) {
        Ok(())
    } else {
        clean_up::service(host, deployment).await?;
        slices::stop_empty(host, deployment).await
    }
}

/// Ends what has no row: units that say in their own file that they are Kennel's, environment
/// files, GC roots and site links. Anything else is somebody else's, whatever it is called.
async fn remove_strangers(host: &mut Host) -> Result<(), DeployError> {
    let (units, envs) = (names_in(&host.config.unit_dir), names_in(&host.layout.env_dir()));
    let roots = host.layout.deployment_roots();
    let root_names = names_in(&roots);
    // After the files: a deployment that begins just now has its row before its first file.
    let holding = host.state.holding()?;
    let known: BTreeSet<DeploymentId> = holding.iter().map(|deployment| deployment.id).collect();
    let slices: BTreeSet<UnitName> = holding.iter().flat_map(Deployment::shared_slices).collect();
    let starts_others = |name: &String| name.ends_with(".timer") || name.ends_with(".socket");
    let (triggers, others): (Vec<_>, Vec<_>) = units.into_iter().partition(starts_others);
    // First those that would start the others again.
    for name in triggers.into_iter().chain(others) {
        let path = host.config.unit_dir.join(&name);
        let Ok(unit) = name.parse::<UnitName>() else { continue };
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if is_own_slice(&text) && !slices.contains(&unit) {
            file::remove(&path)?;
        }
        let of = deployment_of(&text);
        if of.is_some_and(|id| !known.contains(&id)) {
            warn!("{unit} belongs to no deployment; stopping and removing it");
            host.manager.stop(unit.as_str()).await?;
            if unit.is_timer() {
                host.manager.clean_timer(&unit).await?;
            }
            file::remove(&path)?;
            file::remove(&host.layout.env_file(&unit))?;
            secrets::remove_credentials(&host.layout.credentials(&unit))?;
        }
    }
    for name in envs {
        if Layout::deployment_of_env_file(&name).is_none_or(|id| !known.contains(&id)) {
            let path = host.layout.env_dir().join(name);
            if path.is_dir() {
                secrets::remove_credentials(&path)?;
            } else {
                file::remove(&path)?;
            }
        }
    }
    for name in root_names {
        if name.parse::<DeploymentId>().is_ok_and(|id| !known.contains(&id)) {
            file::remove(&roots.join(name))?;
        }
    }
    site::remove_strangers(host)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
