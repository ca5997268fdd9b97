//! The ends of a deployment: what its row says is done.

use kennel_core::{DeploymentId, DeploymentState};
use kennel_store::Deployment;
use kennel_systemd::{kill_point, ring, status};
use tracing::{info, warn};

use crate::{DeployError, Host, clean_up, roots, routes};

/// Brings about the end that the row asks for: a draining deployment is retired, one that is being
/// torn down or never served is removed. Safe to run twice.
///
/// # Errors
/// [`DeployError`], and the row stays as it is: the dispatcher tries again.
pub async fn teardown(host: &mut Host, id: DeploymentId) -> Result<(), DeployError> {
    let deployment = host.deployment(id)?;
    status(&format!("ending deployment {id} of {}", deployment.key));
    kill_point!(EndBegun, &deployment.key.project);
    match deployment.state {
        DeploymentState::Draining => retire(host, &deployment).await?,
        DeploymentState::TearingDown => {
            clean_up::everything(host, &deployment).await?;
            info!("deployment {id} of {} is torn down", deployment.key);
        }
        DeploymentState::Failed
        | DeploymentState::Superseded
        | DeploymentState::Unchanged
        | DeploymentState::Cancelled => {
            if !deployment.cleaned {
                clean_up::everything(host, &deployment).await?;
                info!("deployment {id} of {} has left nothing behind", deployment.key);
            }
        }
        DeploymentState::Retired | DeploymentState::TornDown => {
            info!("deployment {id} is {} already", deployment.state);
        }
        DeploymentState::Pending | DeploymentState::Starting | DeploymentState::Active => {
            return Err(DeployError::NotEnding { id, state: deployment.state.as_str() });
        }
    }
    if let Err(error) = ring(&host.layout.bell()) {
        warn!("{error}");
    }
    Ok(())
}

async fn retire(host: &mut Host, deployment: &Deployment) -> Result<(), DeployError> {
    // What a worker replaces was left in the table: nobody has published one for the worker.
    if routes::lead_to(host, deployment.id) {
        routes::publish(host).await?;
    }
    if deployment.settings.kind().has_unit() {
        clean_up::service(host, deployment).await?;
    }
    // Before this one is retired: nobody looks after those that are, once no end is to be brought
    // about. It will be one of those that are kept.
    let keep = host.config.keep_deployments.saturating_sub(1);
    for old in host.state.beyond_kept(&deployment.key, keep)? {
        roots::release(host, &old)?;
        kill_point!(OldReleased, &deployment.key.project);
        host.state.torn_down(old.id, Host::now())?;
    }
    host.state.retired(deployment.id, Host::now())?;
    kill_point!(Retired, &deployment.key.project);
    info!("deployment {} of {} is retired", deployment.id, deployment.key);
    Ok(())
}
