//! A service's release program: run once, before the new version gets traffic.
//!
//! It runs in a unit of its own, with all that the service has. The unit stays `active` when the
//! program has ended well, and the row then says so before the unit goes: whoever is killed in
//! between asks the unit again, and the program runs once.

use kennel_core::config::ProgramManifest;
use kennel_store::Deployment;
use kennel_systemd::{ManagerError, Run, status};
use tracing::info;

use crate::{DeployError, Host, file, log_tail, program, service, slices, unit};

/// Runs it, if the service has one and it has not run for this deployment. What is gone back to has
/// had its turn long ago.
pub(crate) async fn run(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<(), DeployError> {
    let Some(release) = &manifest.release else { return Ok(()) };
    if !deployment.released && deployment.rollback_to.is_none() {
        program::ensure(&host.layout, &deployment.store_path, release.file_name())?;
        let unit = deployment.release_unit();
        let run = Run::Release { timeout: manifest.release_timeout };
        let text = service::unit_text_of(host, deployment, manifest, release.file_name(), run)?;
        file::replace_other(&host.unit_file(&unit), &text, 0o644)?;
        info!("running {release} of {}", deployment.key);
        status(&format!("running {release} before {} gets traffic", deployment.key));
        let lock = slices::hold(host, deployment).await?;
        let started = host.manager.start(unit.as_str()).await;
        drop(lock);
        match started {
            Ok(()) => host.state.released(deployment.id)?,
            Err(ManagerError::Job { .. }) => {
                let service = host.manager.service(unit.as_str()).await?;
                let tail = log_tail::tail(&unit).await;
                let how = if service.result == "timeout" {
                    format!("it took longer than {} s", manifest.release_timeout.as_secs())
                } else {
                    service.ended
                };
                return Err(DeployError::NotReleased { release: release.clone(), how, tail });
            }
            Err(error) => return Err(error.into()),
        }
    }
    unit::remove(host, &deployment.release_unit()).await
}
