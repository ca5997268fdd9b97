//! Everything in /etc/kennel.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kennel_core::config::{HostConfig, ProjectConfig};
use kennel_core::{Layout, ProjectName};

use super::{Findings, Severity, project_secrets, secrets};
use crate::say;

/// Looks at the host's file, each project's, the webhook secrets and the services'.
pub(crate) fn everything(layout: &Layout) -> Findings {
    let mut findings = Findings::default();
    let path = layout.config();
    if let Some(config) = host(&path, &mut findings)
        && !layout.host_path(&config.unit_dir).is_dir()
    {
        findings.about(&path, Severity::Error, say::unit_dir_missing(&config.unit_dir));
    }
    let projects = projects(layout, &mut findings);
    let names = projects.keys().cloned().collect();
    secrets::check(&layout.webhook_secrets(), &names, &mut findings);
    project_secrets::check(layout, &projects, &mut findings);
    findings
}

/// Checks a host's file and returns what it says.
pub(super) fn host(path: &Path, findings: &mut Findings) -> Option<HostConfig> {
    let text = read(path, findings, say::no_host_config())?;
    let parsed = HostConfig::parse(&text, &path.display().to_string());
    findings.configuration(path, &text, parsed)
}

/// Checks a project's file and returns what it says.
pub(super) fn project(
    path: &Path,
    name: ProjectName,
    findings: &mut Findings,
) -> Option<ProjectConfig> {
    let text = read(path, findings, say::gone())?;
    let parsed = ProjectConfig::parse(name, &text, &path.display().to_string());
    findings.configuration(path, &text, parsed)
}

/// The projects that have a file, and what a good one says.
fn projects(
    layout: &Layout,
    findings: &mut Findings,
) -> BTreeMap<ProjectName, Option<ProjectConfig>> {
    let directory = layout.projects();
    let mut projects = BTreeMap::new();
    let files = match list(&directory) {
        Ok(files) => files,
        Err(ErrorKind::NotFound) => Vec::new(),
        Err(_) => {
            findings.about(&directory, Severity::Unread, say::unread());
            return projects;
        }
    };
    for path in files {
        if path.extension().is_none_or(|extension| extension != "toml") {
            findings.about(&path, Severity::Note, say::not_a_project_file());
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match stem.parse::<ProjectName>() {
            Ok(name) => {
                let config = project(&path, name.clone(), findings);
                if let Some(config) = &config
                    && let Some(repository) = config.repo_url.local_path()
                    && matches!(layout.host_path(repository).try_exists(), Ok(false))
                {
                    findings.about(&path, Severity::Error, say::repository_missing(repository));
                }
                projects.insert(name, config);
            }
            Err(invalid) => {
                findings.checked(&path);
                let message = format!("does not configure a project: {invalid}");
                findings.about(&path, Severity::Error, (message, "rename it"));
            }
        }
    }
    if projects.is_empty() {
        findings.about(&directory, Severity::Note, say::no_projects());
    }
    projects
}

/// A file's text, or a finding.
pub(super) fn read(
    path: &Path,
    findings: &mut Findings,
    missing: (&'static str, &'static str),
) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            findings.checked(path);
            match error.kind() {
                ErrorKind::NotFound => findings.about(path, Severity::Error, missing),
                ErrorKind::PermissionDenied => {
                    findings.about(path, Severity::Unread, say::unread());
                }
                _ => {
                    let message = format!("cannot be read: {error}");
                    findings.about(path, Severity::Error, (message, "see `ls -l` and `file`"));
                }
            }
            None
        }
    }
}

/// The entries of a directory, by name, without editors' hidden files.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, ErrorKind> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.kind())?;
    let hidden = |path: &PathBuf| {
        path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| !hidden(path));
    paths.sort();
    Ok(paths)
}
