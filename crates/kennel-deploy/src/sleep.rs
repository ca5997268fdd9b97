//! Services that sleep: stopped when nobody has used them for a while, started by the router's bell.
//!
//! No row says that a service sleeps: one that may, and whose unit is down while its bell is up, does.
//! So there is nothing to be put right after a crash, a reboot leaves all of them asleep, and to stop
//! one by hand is to put it to sleep. Whether one may is decided from the configuration
//! ([`ProjectConfig::sleep_after`]), and its unit file, its bell and the route table say so.

use std::time::Duration;

use kennel_core::config::ProjectConfig;
use kennel_core::{DeploymentState, Settings, Timestamp};
use kennel_store::{Deployment, load_project};
use kennel_systemd::{WakeUnit, status};
use tracing::{info, warn};

use crate::{DeployError, Host, file, recreate, router, unit};

/// Looks whether services are used, as long as one runs that may sleep.
const TIMER: &str = "kennel-sleep.timer";

/// How long nobody may use the deployment until it is stopped; none if it never is.
pub(crate) fn after(host: &Host, deployment: &Deployment) -> Option<Duration> {
    let project = load_project(&host.layout, &deployment.key.project).ok();
    after_in(host, deployment, project.as_ref())
}

/// As [`after`], with the project's file, if it can be read. Without it nothing new falls asleep.
pub(crate) fn after_in(
    host: &Host,
    deployment: &Deployment,
    project: Option<&ProjectConfig>,
) -> Option<Duration> {
    let Settings::Service(service) = &deployment.settings else { return None };
    match project {
        Some(project) => project.sleep_after(&deployment.key.git_ref, service, &host.config),
        None => service.sleep_after?.limit(),
    }
}

/// The text of its bell's unit file, if it may sleep.
pub(crate) fn unit_text(host: &Host, deployment: &Deployment) -> Option<String> {
    after(host, deployment)?;
    let Deployment { id, key, .. } = deployment;
    let bell = host.layout.wake_socket(*id);
    Some(WakeUnit { deployment: *id, key, bell: &bell }.render())
}

/// Writes the bell's unit file, or takes away one that there shall not be any more.
pub(crate) async fn write_unit(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let path = host.unit_file(&deployment.wake_unit());
    match unit_text(host, deployment) {
        Some(text) => file::replace_other(&path, &text, 0o644).map(drop),
        None => unit::remove(host, &deployment.wake_unit()).await,
    }
}

/// Puts up the bell of a service that may sleep. systemd does so only while the service is down.
pub(crate) async fn hang_bell(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let bell = deployment.wake_unit();
    if after(host, deployment).is_some() && host.manager.state(bell.as_str()).await?.is_over() {
        host.manager.reset_failed(bell.as_str()).await?;
        host.manager.start(bell.as_str()).await?;
    }
    Ok(())
}

/// Whether it is down, and the next who asks for it wakes it.
pub(crate) async fn is_asleep(host: &Host, deployment: &Deployment) -> Result<bool, DeployError> {
    let (unit, bell) = (deployment.unit(), deployment.wake_unit());
    Ok(host.manager.state(unit.as_str()).await?.active == "inactive"
        && host.manager.state(bell.as_str()).await?.active == "active")
}

/// Begins to look whether services are used, if any runs that may sleep.
pub(crate) async fn watch(host: &Host) {
    if let Err(error) = host.manager.start_no_wait(TIMER).await {
        warn!("{error}, ignoring: with the next service that wakes it starts as well");
    }
}

/// Stops the services that nobody has used for as long as they wait for it.
///
/// # Errors
/// [`DeployError`] if the rows cannot be read. A router that does not tell, and a service that does
/// not stop, are reported, and are looked at again.
pub async fn sleep(host: &mut Host) -> Result<(), DeployError> {
    let active = host.state.in_states(&[DeploymentState::Active])?;
    let mut candidates = Vec::new();
    for deployment in active {
        if let Some(after) = after(host, &deployment)
            && host.manager.state(deployment.unit().as_str()).await?.is_running()
        {
            candidates.push((deployment, after));
        }
    }
    if candidates.is_empty() {
        return Ok(());
    }
    let (in_use, last) = match router::use_of_all(host).await {
        Ok(told) => told,
        Err(error) => {
            warn!("asking the router: {error}, ignoring: nothing falls asleep");
            return Ok(());
        }
    };
    for (deployment, after) in candidates {
        let Some(now) = in_use.deployments.get(&deployment.id) else { continue };
        if now.requests > 0 || now.tunnels > 0 || now.waiting > 0 {
            continue;
        }
        // It was not used before the router or it itself began.
        let used = last.deployments.get(&deployment.id).copied().unwrap_or(in_use.since);
        let began = host.manager.active_since(deployment.unit().as_str()).await?;
        if is_over(Host::now(), used.max(in_use.since).max(began), after)
            && let Err(error) = put_to_sleep(host, &deployment).await
        {
            warn!("{} stays awake: {}", deployment.key, error.chain());
        }
    }
    Ok(())
}

fn is_over(now: Timestamp, since: Timestamp, after: Duration) -> bool {
    now.since(since) >= after
}

/// Stops it, unless somebody comes in the last moment. Who comes while it stops waits.
async fn put_to_sleep(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    // What is being replaced, or has given way, is somebody else's to stop.
    if recreate::turn_of_active(host, deployment).await?.is_none() {
        return Ok(());
    }
    status(&format!("{} falls asleep", deployment.key));
    match router::rest(host, deployment.id).await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(error) => {
            warn!("asking the router: {error}, ignoring: {} stays awake", deployment.key);
            return Ok(());
        }
    }
    let unit = deployment.unit();
    let stopped = async {
        host.manager.stop(unit.as_str()).await?;
        // Many programs leave with another status than 0 when they are told to.
        host.manager.reset_failed(unit.as_str()).await?;
        hang_bell(host, deployment).await
    };
    let stopped = stopped.await;
    if let Err(error) = router::end_rest(host, deployment.id).await {
        warn!("asking the router: {error}, ignoring: it asks again by itself");
    }
    stopped?;
    info!("deployment {} of {} sleeps until somebody asks for it", deployment.id, deployment.key);
    Ok(())
}
