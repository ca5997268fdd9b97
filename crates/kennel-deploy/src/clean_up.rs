//! Removing what a deployment has on the host. Each step can be done twice.

use kennel_core::{OutputKind, Settings, UnitName};
use kennel_store::Deployment;
use rustix::fs::FlockOperation;

use crate::{DeployError, Host, file, roots, routes, service, site, slices};

/// Removes everything of a deployment and, with the last of its service, what the deployments of
/// the service shared; then ends its row.
pub(crate) async fn everything(
    host: &mut Host,
    deployment: &Deployment,
) -> Result<(), DeployError> {
    // Routes first: nobody may be sent to a service that is being stopped.
    if routes::lead_to(host, deployment.id) {
        routes::publish(host).await?;
    }
    if deployment.drain_until.is_some() {
        // The timer may have an hour to go, to an end that has come already.
        host.manager.stop(UnitName::teardown_timer(deployment.id).as_str()).await?;
    }
    if deployment.settings.kind() == OutputKind::Service {
        stop(host, deployment).await?;
    }
    // Two ends of one service would each find the other there, and leave to it what both shared:
    // who asks has stopped its own unit, and says that it is gone before the next one asks.
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    match deployment.settings.kind() {
        OutputKind::Service => {
            if host.state.is_last_of_service(deployment)? {
                remove_state(host, deployment).await?;
            }
            remove_files(host, deployment)?;
        }
        OutputKind::Site => site::unlink(host, deployment)?,
    }
    roots::release(host, deployment)?;
    slices::stop_empty(host, deployment).await?;
    // Last: what comes after it is not done again if this program is stopped in between.
    Ok(host.state.torn_down(deployment.id, Host::now())?)
}

/// Removes everything of a deployment that never served.
pub(crate) async fn never_served(
    host: &mut Host,
    deployment: &Deployment,
) -> Result<(), DeployError> {
    if deployment.settings.kind() == OutputKind::Site {
        restore_link(host, deployment)?;
    }
    everything(host, deployment).await
}

/// Stops the deployment's service and removes its unit and environment file.
pub(crate) async fn service(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    stop(host, deployment).await?;
    remove_files(host, deployment)
}

async fn stop(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let unit = deployment.unit();
    host.manager.stop(unit.as_str()).await?;
    Ok(host.manager.reset_failed(unit.as_str()).await?)
}

fn remove_files(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    file::remove(&host.unit_file(deployment))?;
    file::remove(&host.layout.env_file(&deployment.unit()))
}

/// Removes the service's state directory. Only systemd may touch files of a dynamic user, and it
/// wants a unit that names the directory.
async fn remove_state(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let Settings::Service(manifest) = &deployment.settings else { return Ok(()) };
    if !host.layout.data(&deployment.names.user).is_symlink() {
        return Ok(());
    }
    let path = host.unit_file(deployment);
    if !path.exists() {
        file::replace(&path, &service::unit_text(host, deployment, manifest)?, 0o644)?;
    }
    Ok(host.manager.clean_state(deployment.unit().as_str()).await?)
}

/// A site's link may have moved to a deployment that then failed: back to the one that serves.
fn restore_link(host: &Host, failed: &Deployment) -> Result<(), DeployError> {
    let serving = host.state.history(&failed.key, 100)?.into_iter().find(|deployment| {
        deployment.state == kennel_core::DeploymentState::Active && deployment.id != failed.id
    });
    serving.map_or(Ok(()), |serving| site::link(host, &serving))
}
