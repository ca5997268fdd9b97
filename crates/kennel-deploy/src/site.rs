//! A static site: a link that moves in one step.

use std::collections::BTreeSet;
use std::fs::{self, FileType, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kennel_core::{DeploymentState, OutputKind, RuleProblem, SiteRules, StorePath};
use kennel_store::Deployment;
use kennel_systemd::kill_point;
use rustix::fs::FlockOperation;
use tracing::warn;

use crate::{DeployError, Host, file};

/// Points the site's link to what the deployment has.
pub(crate) fn link(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    check_rules(host, deployment)?;
    // Ends of other sites of the branch remove its folder when they find it empty.
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    point_to(host, deployment)?;
    kill_point!(SiteLinked, &deployment.key.project);
    Ok(())
}

/// Refuses a site with a rule that the router would not know: it would be served otherwise than
/// its author believes.
fn check_rules(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let root = host.layout.store(&deployment.store_path);
    let mut rules = SiteRules::default();
    let mut problems = Vec::new();
    for name in [SiteRules::REDIRECTS, SiteRules::HEADERS] {
        let path = root.join(name);
        let whole = |why: &str| RuleProblem { file: name, line: 0, why: why.to_owned() };
        let real = match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            real => real.map_err(DeployError::file("read", &path))?,
        };
        // root reads this, and what is wrong is quoted: it must be nothing but the store's.
        let store = host.layout.host_path(Path::new(StorePath::STORE));
        let store = fs::canonicalize(&store).map_err(DeployError::file("read", &store))?;
        let kind = fs::symlink_metadata(&real).map_err(DeployError::file("read", &real))?;
        if !real.starts_with(&store) || !kind.is_file() {
            problems.push(whole("it is no file of the Nix store"));
        } else {
            let read = fs::File::open(&real).and_then(|file| rules.read(name, file));
            problems.extend(read.map_err(DeployError::file("read", &real))?);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(DeployError::Rules(problems)) }
}

/// Puts back the link of a site that serves.
pub(crate) fn restore(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let _lock = file::lock(&host.layout.end_lock(), FlockOperation::LockExclusive)?;
    settle(host, deployment)
}

/// Makes the link of a deployment's site lead to what serves; without anything that does, there is
/// none. For who holds [`kennel_core::Layout::end_lock`].
pub(crate) fn settle(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
    let key = &deployment.key;
    let link = host.layout.site(&key.project, &deployment.names.slug, &key.service);
    let target = fs::read_link(&link).unwrap_or_default();
    let starting = host.state.in_states(&[DeploymentState::Starting])?;
    if starting.iter().any(|it| it.key == *key && target == it.store_path.as_path()) {
        // It has moved the link, and is the next to serve.
        return Ok(());
    }
    match host.state.active(key)? {
        Some(serving) if serving.settings.kind() == OutputKind::Site => point_to(host, &serving),
        _ => unlink(&link),
    }
}

fn point_to(host: &Host, deployment: &Deployment) -> Result<(), DeployError> {
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

/// Removes a site's link, and the folders that are empty then.
fn unlink(link: &Path) -> Result<(), DeployError> {
    file::remove(link)?;
    link.ancestors().skip(1).take(2).try_for_each(file::remove_empty_dir)
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
