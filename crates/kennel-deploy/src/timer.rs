//! A timer: a program that runs at its times, and a unit that knows them.

use std::time::Duration;

use kennel_core::config::TimerManifest;
use kennel_core::{DeploymentState, Settings};
use kennel_store::Deployment;
use kennel_systemd::{TimerUnit, kill_point, status};
use tracing::info;

use crate::{DeployError, Host, file, service, slices};

/// Starts the deployment's timer in the place of the one that it replaces.
pub(crate) async fn start(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &TimerManifest,
) -> Result<(), DeployError> {
    let deployment = service::lay_out(host, deployment, &manifest.program, None).await?;
    // Between the two is no timer: rather one run too few than the same one twice.
    if let Some(active) = host.state.active(&deployment.key)? {
        pause(host, &active).await?;
    }
    let timer = deployment.timer_unit();
    let _lock = slices::hold(host, &deployment).await?;
    let schedule = || manifest.schedule.clone();
    status(&format!("starting {timer}"));
    host.manager.start(timer.as_str()).await.map_err(|error| {
        if error.is_bad_setting() { DeployError::NoSchedule(schedule()) } else { error.into() }
    })?;
    kill_point!(UnitStarted, &deployment.key.project);
    if host.manager.state(timer.as_str()).await?.sub == "elapsed" {
        return Err(DeployError::NeverAgain(schedule()));
    }
    kill_point!(Healthy, &deployment.key.project);
    Ok(())
}

/// How long a run that goes on may take, of the version that is about to be replaced.
pub(crate) async fn drain(host: &Host, new: &Deployment) -> Result<Duration, DeployError> {
    let Some(active) = host.state.active(&new.key)? else { return Ok(Duration::ZERO) };
    match &active.settings {
        Settings::Timer(old) if !host.manager.state(active.unit().as_str()).await?.is_over() => {
            Ok(old.timeout)
        }
        _ => Ok(Duration::ZERO),
    }
}

/// Begins no more runs of it. One that goes on does.
pub(crate) async fn pause(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    match deployment.settings {
        Settings::Timer(_) => Ok(host.manager.stop(deployment.timer_unit().as_str()).await?),
        Settings::Service(_) | Settings::Worker(_) | Settings::Site(_) => Ok(()),
    }
}

/// What was paused for one that then failed begins its runs again.
pub(crate) async fn resume(host: &Host, failed: &Deployment) -> Result<(), DeployError> {
    let Some(active) = host.state.active(&failed.key)? else { return Ok(()) };
    let timer = active.timer_unit();
    let is_paused = matches!(active.settings, Settings::Timer(_))
        && active.id != failed.id
        && host.manager.state(timer.as_str()).await?.is_over();
    if is_paused {
        info!("{timer} goes on");
        host.manager.start(timer.as_str()).await?;
        // It may have been replaced since its row was read.
        if host.deployment(active.id)?.state != DeploymentState::Active {
            pause(host, &active).await?;
        }
    }
    Ok(())
}

/// Writes the unit file, if the deployment is of a timer.
pub(crate) fn write_unit(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    match unit_text(deployment) {
        Some(text) => {
            file::replace_other(&host.unit_file(&deployment.timer_unit()), &text, 0o644).map(drop)
        }
        None => Ok(()),
    }
}

/// The text of the unit file, if the deployment is of a timer.
pub(crate) fn unit_text(deployment: &Deployment) -> Option<String> {
    let Settings::Timer(manifest) = &deployment.settings else { return None };
    let Deployment { id, key, .. } = deployment;
    Some(TimerUnit { deployment: *id, key, schedule: &manifest.schedule }.render())
}
