//! Slices that nothing runs in any more. systemd leaves them active.

use std::fs::File;

use kennel_core::{UnitName, slice_name};
use kennel_store::Deployment;
use rustix::fs::FlockOperation;
use tracing::warn;

use crate::{DeployError, Host, file};

/// Held by whoever starts a unit in a slice: stopping a slice stops all that runs in it, so that
/// nobody may find it empty and stop it just when something starts.
pub(crate) fn shared(host: &Host) -> Result<File, DeployError> {
    file::lock(&host.layout.slice_lock(), FlockOperation::LockShared)
}

/// Stops the slices of a service, its branch and its project, from the inside out, as long as they
/// are empty.
pub(crate) async fn stop_empty(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let _lock = file::lock(&host.layout.slice_lock(), FlockOperation::LockExclusive)?;
    let project = &deployment.key.project;
    let slug = &deployment.names.slug;
    for slice in [
        slice_name(project, Some(slug), Some(&deployment.key.service)),
        slice_name(project, Some(slug), None),
        slice_name(project, None, None),
    ] {
        if !is_empty(host, &slice).await? {
            return Ok(());
        }
        if let Err(error) = host.manager.stop(slice.as_str()).await {
            warn!("stopping {slice}: {error}, ignoring: an empty slice harms nobody");
        }
    }
    Ok(())
}

async fn is_empty(host: &Host, slice: &UnitName) -> Result<bool, DeployError> {
    for unit in host.manager.required_by(slice.as_str()).await? {
        if !host.manager.state(&unit).await?.is_over() {
            return Ok(false);
        }
    }
    Ok(true)
}
