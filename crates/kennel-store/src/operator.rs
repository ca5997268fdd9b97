//! What the operator wrote: `/etc/kennel/config.toml` and one file per project.
//!
//! Only reads. A file that is missing is an error that says what to write.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kennel_core::config::{HostConfig, Problem, ProjectConfig};
use kennel_core::{Layout, ProjectName};

/// The operator's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no configuration yet.
    #[error("{} does not exist; write one with at least `base_domain = \"example.com\"`", .0.display())]
    NoHost(PathBuf),
    /// There is no such project.
    #[error("there is no project {name}: {} does not exist", .path.display())]
    NoProject {
        /// The project.
        name: ProjectName,
        /// The file that would configure it.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file's name is no project's.
    #[error("{} does not configure a project", .path.display())]
    FileName {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its name.
        source: kennel_core::Invalid,
    },
    /// The file says something that Kennel does not understand.
    #[error(transparent)]
    Problem(#[from] Problem),
}

/// The host's configuration.
///
/// # Errors
/// Any [`ConfigError`].
pub fn load_host(layout: &Layout) -> Result<HostConfig, ConfigError> {
    let path = layout.config();
    let text = read(&path)?.ok_or_else(|| ConfigError::NoHost(path.clone()))?;
    Ok(HostConfig::parse(&text, &path.display().to_string())?)
}

/// One project's configuration.
///
/// # Errors
/// Any [`ConfigError`].
pub fn load_project(layout: &Layout, name: &ProjectName) -> Result<ProjectConfig, ConfigError> {
    let path = layout.projects().join(format!("{name}.toml"));
    let text = read(&path)?
        .ok_or_else(|| ConfigError::NoProject { name: name.clone(), path: path.clone() })?;
    Ok(ProjectConfig::parse(name.clone(), &text, &path.display().to_string())?)
}

/// Every project's configuration, or why it cannot be used: one bad file stops no other project.
///
/// # Errors
/// [`ConfigError::Read`] if the directory cannot be read; a missing one has no projects.
pub fn load_projects(
    layout: &Layout,
) -> Result<BTreeMap<PathBuf, Result<ProjectConfig, ConfigError>>, ConfigError> {
    let directory = layout.projects();
    let failed = |source| ConfigError::Read { path: directory.clone(), source };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut projects = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let project = match stem.parse::<ProjectName>() {
                Ok(name) => load_project(layout, &name),
                Err(source) => Err(ConfigError::FileName { path: path.clone(), source }),
            };
            projects.insert(path, project);
        }
    }
    Ok(projects)
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.into(), source }),
    }
}
