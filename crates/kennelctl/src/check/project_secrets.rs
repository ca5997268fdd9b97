//! Services' secrets: whether kennel-deploy finds them, and whether nobody else does.
//!
//! Values are read to see that there is one, and are never shown.

use std::collections::BTreeMap;
use std::path::Path;

use kennel_core::config::ProjectConfig;
use kennel_core::{Layout, ProjectName, SecretScope};
use kennel_store::{Secrets, SecretsError};

use super::operator::list;
use super::secrets::{ANYTHING, WRITING, open_to_others};
use super::{Findings, Severity};
use crate::say;

/// What the sandbox of kennel-deploy hides or replaces: `ProtectHome=` and `PrivateTmp=`.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

pub(super) fn check(
    layout: &Layout,
    projects: &BTreeMap<ProjectName, Option<ProjectConfig>>,
    findings: &mut Findings,
) {
    for project in projects.values().flatten() {
        of_project(layout, project, findings);
    }
    let all = layout.host_path(Path::new("/etc/kennel/secrets"));
    for path in list(&all).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !projects.keys().any(|project| project.as_str() == name) {
            findings.about(&path, Severity::Note, say::secret_without_project(&name));
        }
    }
}

fn of_project(layout: &Layout, project: &ProjectConfig, findings: &mut Findings) {
    let named = &project.secrets_dir;
    let is_default = *named == Layout::default().secrets(&project.name);
    let file = layout.projects().join(format!("{}.toml", project.name));
    if HIDDEN.iter().any(|hidden| named.starts_with(hidden)) {
        findings.about(&file, Severity::Error, say::secrets_dir_hidden(named));
        return;
    }
    if !is_default && matches!(layout.host_path(named).try_exists(), Ok(false)) {
        findings.about(&file, Severity::Error, say::secrets_dir_missing(named));
        return;
    }
    let secrets = Secrets::of(layout, project);
    for scope in SecretScope::ALL {
        of_scope(&secrets, scope, is_default, findings);
    }
    let found = match secrets.list() {
        Ok(found) => found,
        Err(error) => {
            let path = secrets.directory(SecretScope::Both);
            findings.about(&path, Severity::Unread, unread(&error));
            return;
        }
    };
    for secret in found {
        findings.checked(&secret.path);
        if let Err(error @ SecretsError::Twice(_)) = secrets.find(&secret.name, &[secret.scope]) {
            // Once, though both are listed.
            if secret.is_sealed {
                findings.about(&secret.path, Severity::Error, say::secret_twice(&error));
            }
        }
        match secret.read() {
            Ok(_) => {}
            Err(SecretsError::Bad { why, .. }) => {
                findings.about(&secret.path, Severity::Error, say::secret_bad(why));
            }
            Err(error) => findings.about(&secret.path, Severity::Unread, unread(&error)),
        }
        if let Some(mode) = open_to_others(&secret.path, ANYTHING) {
            findings.about(&secret.path, Severity::Error, say::secret_open(mode));
        }
    }
}

/// The directory itself, and what lies in it without being a secret.
fn of_scope(secrets: &Secrets, scope: SecretScope, is_default: bool, findings: &mut Findings) {
    let directory = secrets.directory(scope);
    if let Some(mode) = open_to_others(&directory, WRITING) {
        findings.about(&directory, Severity::Error, say::secrets_writable(mode));
    }
    // Elsewhere other files are other programs' business.
    if !is_default {
        return;
    }
    for path in list(&directory).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_scope = SecretScope::ALL.iter().any(|it| it.directory() == Some(&*name));
        if scope == SecretScope::Both && is_scope && path.is_dir() {
            continue;
        }
        if let Err(invalid) = Secrets::named(&path) {
            findings.about(&path, Severity::Note, say::not_a_secret(&invalid));
        }
    }
}

fn unread(error: &SecretsError) -> (String, &'static str) {
    if error.denied().is_some() {
        let (message, help) = say::unread();
        return (message.to_owned(), help);
    }
    (format!("cannot be read: {}", kennel_core::error_chain(error)), "see `ls -l`")
}
