//! GC roots: what keeps a store path alive while something of Kennel's needs it.

use std::fs;
use std::path::PathBuf;

use kennel_store::Deployment;
use kennel_systemd::kill_point;

use crate::file;
use crate::{DeployError, Host};

/// As many as the operator may keep (`keep_deployments`).
const MOST_EARLIER: u32 = 1000;

/// Makes the deployment's own root, beside the build's.
///
/// The build's root is the proof that the store path is what this build made; a row alone is not
/// believed. A run that was killed in between finds its own root and goes on. Where the build is
/// deployed again, its root is gone already: then the root of an earlier deployment of it is
/// the proof, which no builder can write.
pub(crate) fn hold(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let own = host.layout.deployment_root(deployment.id);
    let builds = host.layout.build_roots(deployment.build).join(deployment.key.service.as_str());
    let target = deployment.store_path.as_path();
    let held = |root: &PathBuf| fs::read_link(root).is_ok_and(|held| held == target);
    if !held(&own) {
        if !held(&builds) && !earlier_roots(host, deployment)?.any(|root| held(&root)) {
            let path = deployment.store_path.clone();
            return Err(DeployError::NotRooted { path, root: builds });
        }
        file::replace_link(&own, target)?;
        kill_point!(RootMade, &deployment.key.project);
    }
    Ok(())
}

/// The roots of other deployments of the same build's same output.
fn earlier_roots(
    host: &Host,
    deployment: &Deployment,
) -> Result<impl Iterator<Item = PathBuf>, DeployError> {
    let earlier = host.state.history(&deployment.key, MOST_EARLIER)?;
    let (id, build) = (deployment.id, deployment.build);
    let layout = host.layout.clone();
    let same = earlier.into_iter().filter(move |it| it.id != id && it.build == build);
    Ok(same.map(move |it| layout.deployment_root(it.id)))
}

/// Removes every root of the deployment.
pub(crate) fn release(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    file::remove(&host.layout.deployment_root(deployment.id))?;
    release_build(host, deployment)
}

/// Removes the build's root, once the deployment's own has been there for a while: a collector that
/// has read the one directory before the root was made there, and reads the other after it was
/// removed here, sees neither.
pub(crate) fn release_build(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let directory = host.layout.build_roots(deployment.build);
    file::remove(&directory.join(deployment.key.service.as_str()))?;
    file::remove_empty_dir(&directory)
}
