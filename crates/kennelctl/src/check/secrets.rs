//! Webhook secrets: whether systemd hands them to the receiver, and whether they are secret.
//!
//! One credential of a whole directory: a file that is too large keeps all others out as well.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kennel_core::ProjectName;

use super::operator::list;
use super::{Findings, Severity};
use crate::say;

/// What systemd hands over at most, for one credential and for all of a unit together
/// (systemd.exec(5), "LoadCredential=": 1 MB).
const LARGEST: u64 = 1024 * 1024;

/// Shorter ones can be guessed by whoever recorded one delivery.
const SHORTEST: usize = 16;

pub(super) fn check(directory: &Path, projects: &BTreeSet<ProjectName>, findings: &mut Findings) {
    let files = match list(directory) {
        Ok(files) => files,
        Err(ErrorKind::NotFound) => {
            findings.about(directory, Severity::Error, say::no_secrets_directory());
            return;
        }
        Err(_) => {
            findings.about(directory, Severity::Unread, say::unread());
            return;
        }
    };
    if let Some(mode) = open_to_others(directory, ANYTHING) {
        findings.about(directory, Severity::Error, say::secrets_directory_open(mode));
    }
    let mut total = 0;
    let mut found = BTreeSet::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !projects.iter().any(|project| project.as_str() == name) {
            findings.about(&path, Severity::Note, say::secret_without_project(&name));
        }
        total += one(&path, findings);
        found.insert(name);
    }
    if total > LARGEST {
        findings.about(directory, Severity::Error, say::secrets_large(total));
    }
    for project in projects.iter().filter(|project| !found.contains(project.as_str())) {
        let path = directory.join(project.as_str());
        findings.about(&path, Severity::Error, say::no_secret(project.as_str()));
    }
}

/// Checks one file and returns its size, or 0 if it is reported as too large already.
fn one(path: &Path, findings: &mut Findings) -> u64 {
    findings.checked(path);
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) => {
            let message = format!("cannot be read: {error}");
            findings.about(path, Severity::Error, (message, "remove or replace it"));
            return 0;
        }
    };
    if !found.is_file() {
        findings.about(path, Severity::Error, say::secret_not_a_file());
        return 0;
    }
    if let Some(mode) = open_to_others(path, ANYTHING) {
        findings.about(path, Severity::Error, say::secret_open(mode));
    }
    if found.len() > LARGEST {
        findings.about(path, Severity::Error, say::secret_large(found.len()));
        return 0;
    }
    match std::fs::read(path).as_deref().map(<[u8]>::trim_ascii) {
        Ok([]) => findings.about(path, Severity::Error, say::secret_empty()),
        Ok(secret) if secret.len() < SHORTEST => {
            findings.about(path, Severity::Note, say::secret_short(secret.len()));
        }
        Ok(_) => {}
        Err(_) => findings.about(path, Severity::Unread, say::unread()),
    }
    found.len()
}

/// Permission bits of everybody but the owner.
pub(super) const ANYTHING: u32 = 0o077;
pub(super) const WRITING: u32 = 0o022;

/// The mode, if it has any of these bits.
pub(super) fn open_to_others(path: &Path, bits: u32) -> Option<u32> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o7777;
    (mode & bits != 0).then_some(mode)
}
