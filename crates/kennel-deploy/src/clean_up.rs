//! Removing what a deployment has on the host. Each step can be done twice.

use kennel_core::{OutputKind, UnitName};
use kennel_store::Deployment;
use kennel_systemd::kill_point;
use rustix::fs::FlockOperation;

use crate::{
    DeployError, Host, databases, file, recreate, roots, routes, secrets, service, site, slices,
    timer, unit,
};

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
    kill_point!(RoutesWithdrawn, &deployment.key.project);
    if deployment.drain_until.is_some() {
        // The timer may have an hour to go, to an end that has come already.
        host.manager.stop(UnitName::teardown_timer(deployment.id).as_str()).await?;
    }
    kill_point!(TimerStopped, &deployment.key.project);
    if deployment.settings.kind().has_unit() {
        stop(host, deployment).await?;
        recreate::resume(host, deployment).await?;
    }
    // Two ends of one service would each find the other there, and leave to it what both shared:
    // who asks has stopped its own unit, and says that it is gone before the next one asks.
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    match deployment.settings.kind() {
        OutputKind::Service | OutputKind::Worker | OutputKind::Timer => {
            if host.state.is_last_of_service(deployment)? {
                remove_state(host, deployment).await?;
                kill_point!(StateRemoved, &deployment.key.project);
            }
            remove_files(host, deployment)?;
            timer::resume(host, deployment).await?;
        }
        OutputKind::Site => {
            site::settle(host, deployment)?;
            kill_point!(SiteUnlinked, &deployment.key.project);
        }
    }
    databases::take_back(host, deployment).await?;
    roots::release(host, deployment)?;
    kill_point!(RootsReleased, &deployment.key.project);
    slices::stop_empty(host, deployment).await?;
    kill_point!(SlicesStopped, &deployment.key.project);
    // Last: what comes after it is not done again if this program is stopped in between.
    host.state.torn_down(deployment.id, Host::now())?;
    kill_point!(TornDown, &deployment.key.project);
    Ok(())
}

/// Stops the deployment's service and removes its unit, environment file and credentials.
pub(crate) async fn service(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    stop(host, deployment).await?;
    remove_files(host, deployment)
}

async fn stop(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    // First: they would start the unit again.
    unit::remove(host, &deployment.timer_unit()).await?;
    unit::remove(host, &deployment.wake_unit()).await?;
    unit::remove(host, &deployment.release_unit()).await?;
    let unit = deployment.unit();
    host.manager.stop(unit.as_str()).await?;
    host.manager.reset_failed(unit.as_str()).await?;
    kill_point!(UnitStopped, &deployment.key.project);
    Ok(())
}

fn remove_files(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    file::remove(&host.unit_file(&deployment.unit()))?;
    file::remove(&host.layout.env_file(&deployment.unit()))?;
    secrets::remove_credentials(&host.layout.credentials(&deployment.unit()))?;
    kill_point!(FilesRemoved, &deployment.key.project);
    Ok(())
}

/// Removes the service's state directory. Only systemd may touch files of a dynamic user, and it
/// wants a unit that names the directory.
async fn remove_state(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let Some(manifest) = deployment.settings.program() else { return Ok(()) };
    if !host.layout.data(&deployment.names.user).is_symlink() {
        return Ok(());
    }
    let path = host.unit_file(&deployment.unit());
    if !path.exists() {
        file::replace(&path, &service::unit_text(host, deployment, manifest)?, 0o644)?;
    }
    Ok(host.manager.clean_state(deployment.unit().as_str()).await?)
}
