//! A static site: a link that moves in one step.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kennel_core::DeploymentState;
use kennel_store::Deployment;
use kennel_systemd::kill_point;
use rustix::fs::FlockOperation;

use crate::{DeployError, Host, file};

/// Points the site's link to what the deployment has.
pub(crate) fn link(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    // Ends of other sites of the branch remove its folder when they find it empty.
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    point_to(host, deployment)?;
    kill_point!(SiteLinked, &deployment.key.project);
    Ok(())
}

/// [`link`], for who holds [`kennel_core::Layout::end_lock`].
pub(crate) fn point_to(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    if !host.layout.store(&deployment.store_path).is_dir() {
        return Err(DeployError::NotAFolder(deployment.store_path.clone()));
    }
    let directory = host.layout.sites(&deployment.key.project, &deployment.names.slug);
    let project = directory.parent().unwrap_or(&directory);
    for folder in [project, &directory] {
        open_folder(folder).map_err(DeployError::file("make", folder))?;
    }
    let link = directory.join(deployment.key.service.as_str());
    file::replace_link(&link, deployment.store_path.as_path())
}

/// Makes a folder that everybody may read, whatever the umask: that one is for databases.
fn open_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755))),
    }
}

/// Removes the site's link if it points to what this deployment has and nobody serves, and the
/// folders that are empty then.
pub(crate) fn unlink(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let key = &deployment.key;
    let link = host.layout.site(&key.project, &deployment.names.slug, &key.service);
    let own = fs::read_link(&link).is_ok_and(|target| target == deployment.store_path.as_path());
    // An unchanged site has the same path in several deployments.
    if own && !is_served_by_another(host, deployment)? {
        file::remove(&link)?;
    }
    let branch = host.layout.sites(&key.project, &deployment.names.slug);
    file::remove_empty_dir(&branch)?;
    branch.parent().map_or(Ok(()), file::remove_empty_dir)
}

fn is_served_by_another(host: &Host, deployment: &Deployment) -> Result<bool, DeployError> {
    let active = host.state.in_states(&[DeploymentState::Active])?;
    Ok(active.iter().any(|it| {
        it.id != deployment.id && it.key == deployment.key && it.store_path == deployment.store_path
    }))
}
