//! A static site: a link that moves in one step.

use std::collections::BTreeSet;
use std::fs::{self, FileType, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kennel_store::Deployment;
use kennel_systemd::kill_point;
use rustix::fs::FlockOperation;
use tracing::warn;

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

/// Removes the links below the directory of sites that belong to no deployment's site, and the
/// folders that are empty then. Files and folders that somebody put there are not Kennel's.
pub(crate) fn remove_strangers(host: &Host) -> Result<(), DeployError> {
    // Nobody makes a link meanwhile; and who waits to make one has its row already.
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    let holding = host.state.holding()?;
    let known: BTreeSet<PathBuf> = holding
        .iter()
        .map(|it| host.layout.site(&it.key.project, &it.names.slug, &it.key.service))
        .collect();
    for project in found_in(&host.layout.all_sites(), FileType::is_dir) {
        for branch in found_in(&project, FileType::is_dir) {
            for link in found_in(&branch, FileType::is_symlink) {
                if !known.contains(&link) {
                    warn!("{} belongs to no deployment; removing it", link.display());
                    file::remove(&link)?;
                }
            }
            file::remove_empty_dir(&branch)?;
        }
        file::remove_empty_dir(&project)?;
    }
    Ok(())
}

/// What is of a kind in a folder. A link to a folder is a link: nobody follows it.
fn found_in(folder: &Path, is: fn(&FileType) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| entry.file_type().is_ok_and(|kind| is(&kind)));
    wanted.map(|entry| entry.path()).collect()
}

fn is_served_by_another(host: &Host, deployment: &Deployment) -> Result<bool, DeployError> {
    let active = host.state.active(&deployment.key)?;
    Ok(active.is_some_and(|it| it.id != deployment.id && it.store_path == deployment.store_path))
}
