//! One deployment, from its row to its place in the route table.

use std::time::Duration;

use kennel_core::{DeploymentEvent, DeploymentId, DeploymentState, Settings, UnitName};
use kennel_store::{Deployment, StoreError, load_project};
use kennel_systemd::{kill_point, ring, status};
use tracing::{error, info, warn};

use crate::{
    DeployError, Host, clean_up, domain, recreate, roots, router, routes, service, site, timer,
    unchanged, worker,
};

/// Makes the deployment serve, and puts what it replaces on its drain timer. If it cannot, the row
/// says why, the old deployment keeps serving and nothing of the new one is left.
///
/// # Errors
/// [`DeployError`] if the row could not even be ended.
pub async fn deploy(host: &mut Host, id: DeploymentId) -> Result<DeploymentState, DeployError> {
    let deployment = match host.state.claim(id, Host::now()) {
        Ok(deployment) => deployment,
        // Ended or superseded meanwhile: nothing is left to do.
        Err(StoreError::WrongTurn(turn)) => {
            info!("{turn}; nothing to do");
            return Ok(host.deployment(id)?.state);
        }
        Err(error) => return Err(error.into()),
    };
    kill_point!(DeploymentClaimed, &deployment.key.project);
    let key = deployment.key.to_string();
    info!("deploying {key}: {} at {}", deployment.store_path, deployment.sha.short());
    let state = match bring_up(host, &deployment).await {
        Ok(Brought::Unchanged(serving)) => {
            kill_point!(FoundUnchanged, &deployment.key.project);
            info!("{key} is what deployment {serving} serves already; nothing changes");
            clean_up(host, id).await?;
            DeploymentState::Unchanged
        }
        Ok(Brought::Up(replaced)) => {
            kill_point!(Activated, &deployment.key.project);
            if deployment.settings.kind().is_routed() {
                let url = routes::url(host, &deployment)?;
                info!("{key} serves as deployment {id} at {url}");
            } else {
                info!("{key} runs as deployment {id}");
            }
            for old in replaced {
                drain(host, &old, &deployment).await;
            }
            kill_point!(DrainTimed, &deployment.key.project);
            DeploymentState::Active
        }
        Err(error) => fail(host, &deployment, &error).await?,
    };
    if let Err(error) = ring(&host.layout.bell()) {
        warn!("{error}");
    }
    Ok(state)
}

/// What became of a deployment that did not fail.
enum Brought {
    /// It serves in the place of these.
    Up(Vec<Deployment>),
    /// This one serves the same already.
    Unchanged(DeploymentId),
}

/// Everything up to the moment from which the new deployment serves.
async fn bring_up(host: &mut Host, deployment: &Deployment) -> Result<Brought, DeployError> {
    let project = load_project(&host.layout, &deployment.key.project)?;
    status(&format!("preparing {}", deployment.key));
    roots::hold(host, deployment)?;
    domain::claim(host, deployment, &project)?;
    kill_point!(DomainClaimed, &deployment.key.project);
    if let Some(serving) = unchanged::serving(host, deployment).await?
        && host.state.unchanged(deployment.id, serving.id, Host::now())?
    {
        return Ok(Brought::Unchanged(serving.id));
    }
    match &deployment.settings {
        Settings::Service(manifest) => service::start(host, deployment, manifest).await?,
        Settings::Worker(manifest) => worker::start(host, deployment, manifest).await?,
        Settings::Timer(manifest) => timer::start(host, deployment, manifest).await?,
        Settings::Site(_) => site::link(host, deployment)?,
    }
    if deployment.settings.kind().is_routed() {
        route(host, deployment).await?;
    }
    roots::release_build(host, deployment)?;
    kill_point!(RootTakenOver, &deployment.key.project);
    let drain = match &deployment.settings {
        // What it replaces has ended before it began.
        _ if recreate::is_asked_for(host, deployment)? => Duration::ZERO,
        Settings::Service(manifest) => manifest.drain.unwrap_or(host.config.drain),
        // Nobody is being answered.
        Settings::Worker(_) => Duration::ZERO,
        Settings::Timer(_) => timer::drain(host, deployment).await?,
        Settings::Site(_) => host.config.drain,
    };
    let now = Host::now();
    Ok(Brought::Up(host.state.activate(deployment.id, now.plus(drain), now)?))
}

/// From here on requests are led to it.
async fn route(host: &mut Host, deployment: &Deployment) -> Result<(), DeployError> {
    status(&format!("publishing {}", deployment.key));
    host.state.set_routed(deployment.id, true)?;
    kill_point!(Routed, &deployment.key.project);
    let generation = routes::write(host)?;
    kill_point!(TableWritten, &deployment.key.project);
    router::load(host, generation).await?;
    kill_point!(TableLoaded, &deployment.key.project);
    Ok(())
}

/// Puts a replaced deployment on its timer. The row says until when it drains, so that a timer
/// which could not be made, or died with a reboot, is made up for by the dispatcher.
async fn drain(host: &Host, old: &Deployment, new: &Deployment) {
    if let Err(error) = timer::pause(host, old).await {
        warn!("{}, ignoring: its timer goes when it is retired", error.chain());
    }
    let until = old.drain_until.unwrap_or_else(Host::now);
    let delay = until.since(Host::now());
    let timer = UnitName::teardown_timer(old.id);
    let description = format!("End of deployment {} of {}", old.id, old.key);
    match host.manager.start_timer(&timer, &description, delay).await {
        Ok(()) => {
            let seconds = delay.as_secs();
            info!("deployment {} gives way to {} and drains for {seconds} s", old.id, new.id);
        }
        Err(error) => {
            warn!("{error}, ignoring: the dispatcher ends it when its time is over");
            return;
        }
    }
    // Whoever ended it between the row and the timer has found no timer to stop.
    if host.deployment(old.id).is_ok_and(|old| old.state != DeploymentState::Draining)
        && let Err(error) = host.manager.stop(timer.as_str()).await
    {
        warn!("{error}, ignoring: it finds nothing to do when it elapses");
    }
}

/// Writes down why, and takes back what was made.
async fn fail(
    host: &mut Host,
    deployment: &Deployment,
    cause: &DeployError,
) -> Result<DeploymentState, DeployError> {
    let id = deployment.id;
    let reason = cause.chain();
    error!("deployment {id} of {} failed: {reason}", deployment.key);
    let state = match host.state.step(id, DeploymentEvent::Failed, Some(&reason), Host::now()) {
        Ok(state) => state,
        // Torn down or cancelled meanwhile: that end stands, and is being brought about.
        Err(StoreError::WrongTurn(_)) => return Ok(host.deployment(id)?.state),
        Err(error) => return Err(error.into()),
    };
    kill_point!(FailureWritten, &deployment.key.project);
    clean_up(host, id).await?;
    Ok(state)
}

/// Takes back what was made of a deployment that does not serve.
async fn clean_up(host: &mut Host, id: DeploymentId) -> Result<(), DeployError> {
    if let Err(error) = clean_up::everything(host, &host.deployment(id)?).await {
        let error = error.chain();
        warn!("cleaning up after deployment {id}: {error}, ignoring: the dispatcher tries again");
    }
    Ok(())
}
