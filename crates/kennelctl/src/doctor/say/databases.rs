//! Whether the databases are whole.

use std::io;
use std::path::Path;

use super::{TMPFILES, bytes};
use crate::doctor::finding::Finding;

pub(in crate::doctor) fn database_unread(
    check: &'static str,
    path: &Path,
    error: &io::Error,
) -> Finding {
    let place = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Finding::skipped(check, format!("{place} may not be opened"))
            .run("sudo kennelctl doctor");
    }
    Finding::failure(check, format!("{place} cannot be opened: {error}")).run(TMPFILES)
}

pub(in crate::doctor) fn database_new(check: &'static str) -> Finding {
    Finding::ok(check, "empty; no program has opened it yet")
}

pub(in crate::doctor) fn database_whole(check: &'static str, schema: u32, size: u64) -> Finding {
    Finding::ok(check, format!("whole, schema {schema}, {}", bytes(size)))
}

pub(in crate::doctor) fn database_newer(
    check: &'static str,
    path: &Path,
    found: u32,
    known: u32,
) -> Finding {
    let sentence = format!("{} has schema {found}, and this version knows {known}", path.display());
    Finding::failure(check, sentence).by_hand("install the newer version of Kennel again")
}

pub(in crate::doctor) fn database_damaged(check: &'static str, path: &Path, why: &str) -> Finding {
    Finding::failure(check, format!("{} is damaged: {why}", path.display())).by_hand(
        "`systemctl stop kennel.target`, put the backup in its place (docs/operations.md, \
         \"Backup\"), `systemctl start kennel.target`",
    )
}
