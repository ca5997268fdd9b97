//! A static site: a link that moves in one step.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use kennel_store::Deployment;

use crate::{DeployError, Host, file};

/// Points the site's link to what the deployment has.
pub(crate) fn link(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    if !host.layout.store(&deployment.store_path).is_dir() {
        return Err(DeployError::NotAFolder(deployment.store_path.clone()));
    }
    let directory = host.layout.sites(&deployment.key.project, &deployment.names.slug);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&directory)
        .map_err(DeployError::file("make", &directory))?;
    let link = directory.join(deployment.key.service.as_str());
    file::replace_link(&link, deployment.store_path.as_path())
}

/// Removes the site's link if it points to what this deployment has, and the folders that are
/// empty then.
pub(crate) fn unlink(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let key = &deployment.key;
    let link = host.layout.site(&key.project, &deployment.names.slug, &key.service);
    if fs::read_link(&link).is_ok_and(|target| target == deployment.store_path.as_path()) {
        file::remove(&link)?;
    }
    let branch = host.layout.sites(&key.project, &deployment.names.slug);
    file::remove_empty_dir(&branch)?;
    branch.parent().map_or(Ok(()), file::remove_empty_dir)
}
