//! GC roots: what keeps a store path alive while something of Kennel's needs it.

use std::fs;

use kennel_store::Deployment;

use crate::file;
use crate::{DeployError, Host};

/// Takes over from the build: the deployment's own root, then the build's is removed.
///
/// The build's root is the proof that the store path is what this build made; a row alone is not
/// believed. A run that was killed in between finds its own root and goes on.
pub(crate) fn take_over(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let own = host.layout.deployment_root(deployment.id);
    let builds = host.layout.build_roots(deployment.build).join(deployment.key.service.as_str());
    let target = deployment.store_path.as_path();
    let held = |root| fs::read_link(root).is_ok_and(|held| held == target);
    if !held(&own) {
        if !held(&builds) {
            let path = deployment.store_path.clone();
            return Err(DeployError::NotRooted { path, root: builds });
        }
        file::replace_link(&own, target)?;
    }
    release_build(host, deployment)
}

/// Removes every root of the deployment.
pub(crate) fn release(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    file::remove(&host.layout.deployment_root(deployment.id))?;
    release_build(host, deployment)
}

fn release_build(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let directory = host.layout.build_roots(deployment.build);
    file::remove(&directory.join(deployment.key.service.as_str()))?;
    file::remove_empty_dir(&directory)
}
