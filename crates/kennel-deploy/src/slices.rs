//! Slices: what a project, a branch and a service have together, and the end of those that nothing
//! runs in. systemd leaves them active.

use std::fs::{self, File};
use std::path::Path;

use kennel_core::config::ProjectConfig;
use kennel_core::{UnitName, slice_name};
use kennel_store::{Deployment, load_project};
use kennel_systemd::{SliceUnit, is_own_slice};
use rustix::fs::FlockOperation;
use tracing::warn;

use crate::{DeployError, Host, file};

/// The slices of a deployment have what the operator gives them. Held by whoever starts a unit in
/// one: stopping a slice stops all that runs in it, so that nobody may find it empty and stop it just
/// when something starts.
pub(crate) async fn hold(host: &Host, deployment: &Deployment) -> Result<File, DeployError> {
    let lock = file::lock(&host.layout.slice_lock(), FlockOperation::LockShared)?;
    if write(host, deployment).await? {
        // Only after the operator has changed something: a new slice reads its file by itself.
        host.manager.reload_all().await?;
    }
    Ok(lock)
}

/// Writes the unit files of the slices of the deployment's project and branch. Returns whether
/// systemd knows one by an older file.
pub(crate) async fn write(host: &Host, deployment: &Deployment) -> Result<bool, DeployError> {
    let project = match load_project(&host.layout, &deployment.key.project) {
        Ok(project) => project,
        Err(error) => {
            warn!("{error}, ignoring: its slices stay as they are");
            return Ok(false);
        }
    };
    let mut outdated = false;
    for (slice, text) in deployment.shared_slices().into_iter().zip(texts(deployment, &project)) {
        let path = host.unit_file(&slice);
        let is_others = fs::read_to_string(&path).is_ok_and(|text| !is_own_slice(&text));
        if !is_others && replace(host, &path, &text)? {
            outdated |= !host.manager.state(slice.as_str()).await?.is_over();
        }
    }
    Ok(outdated)
}

/// Several services of a branch start at once, and each finds the file missing. Returns whether this
/// one wrote it.
fn replace(host: &Host, path: &Path, text: &str) -> Result<bool, DeployError> {
    if file::says(path, text) {
        return Ok(false);
    }
    let _writing = file::lock(&host.layout.slice_file_lock(), FlockOperation::LockExclusive)?;
    file::replace_other(path, text, 0o644)
}

/// What the files of [`Deployment::shared_slices`] say.
fn texts(deployment: &Deployment, config: &ProjectConfig) -> [String; 2] {
    let (project, git_ref) = (&deployment.key.project, &deployment.key.git_ref);
    let of_project = SliceUnit { project, git_ref: None, share: config.limits };
    let share = config.share(git_ref);
    let of_branch = SliceUnit { project, git_ref: Some(git_ref), share };
    [of_project.render(), of_branch.render()]
}

/// Whether a timer or a bell will start the unit again.
async fn has_trigger(host: &Host, unit: &str) -> Result<bool, DeployError> {
    let Some(name) = unit.strip_suffix(".service") else { return Ok(false) };
    for trigger in [format!("{name}.timer"), format!("{name}.socket")] {
        if !host.manager.state(&trigger).await?.is_over() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stops the slices of a service, its branch and its project, from the inside out, as long as they
/// are empty, and removes their files.
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
        let path = host.unit_file(&slice);
        let _writing = file::lock(&host.layout.slice_file_lock(), FlockOperation::LockExclusive)?;
        if fs::read_to_string(&path).is_ok_and(|text| is_own_slice(&text)) {
            file::remove(&path)?;
        }
    }
    Ok(())
}

async fn is_empty(host: &Host, slice: &UnitName) -> Result<bool, DeployError> {
    for unit in host.manager.required_by(slice.as_str()).await? {
        if !host.manager.state(&unit).await?.is_over() || has_trigger(host, &unit).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
