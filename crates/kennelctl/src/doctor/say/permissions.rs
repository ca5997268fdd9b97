//! Users, groups, and who may open what.

use std::path::Path;

use super::TMPFILES;
use crate::doctor::finding::Finding;
use crate::doctor::tmpfiles::Entry;

const ACCOUNTS: &str = "permissions.accounts";
const PATHS: &str = "permissions.paths";
const SECRETS: &str = "permissions.secrets";

pub(in crate::doctor) fn accounts_good() -> Finding {
    Finding::ok(ACCOUNTS, "Kennel's users and groups exist")
}

pub(in crate::doctor) fn accounts_missing(missing: &[String]) -> Finding {
    Finding::failure(ACCOUNTS, format!("missing: {}", missing.join(", ")))
        .run("systemd-sysusers kennel.conf")
}

pub(in crate::doctor) fn accounts_unread() -> Finding {
    Finding::skipped(ACCOUNTS, "/etc/passwd or /etc/group cannot be read")
}

pub(in crate::doctor) fn paths_good(count: usize) -> Finding {
    Finding::ok(PATHS, format!("{count} paths have their owner, group and mode"))
}

pub(in crate::doctor) fn path_missing(entry: &Entry) -> Finding {
    Finding::failure(PATHS, format!("{} is missing", entry.path.display())).run(TMPFILES)
}

fn owner(entry: &Entry) -> String {
    format!("{}:{} {:04o}", entry.user, entry.group, entry.mode)
}

pub(in crate::doctor) fn path_wrong(entry: &Entry, found: &str) -> Finding {
    let sentence = format!("{} is {found}, not {}", entry.path.display(), owner(entry));
    Finding::failure(PATHS, sentence).run(TMPFILES)
}

pub(in crate::doctor) fn beside_database_wrong(path: &Path, entry: &Entry, found: &str) -> Finding {
    let place = path.display();
    let sentence = format!("{place} is {found}, not {}", owner(entry));
    let Entry { user, group, mode, .. } = entry;
    Finding::failure(PATHS, sentence)
        .run(format!("chown {user}:{group} {place} && chmod {mode:04o} {place}"))
}

pub(in crate::doctor) fn paths_unseen(count: usize) -> Finding {
    Finding::skipped(PATHS, format!("{count} paths may not be looked at"))
        .run("sudo kennelctl doctor")
}

pub(in crate::doctor) fn secrets_good() -> Finding {
    Finding::ok(SECRETS, "only their owners read environments and secrets")
}

pub(in crate::doctor) fn secret_open(path: &Path, mode: u32) -> Finding {
    let place = path.display();
    Finding::failure(
        SECRETS,
        format!("{place} can be opened by others than its owner ({mode:04o})"),
    )
    .run(format!("chmod go= {place}"))
}

pub(in crate::doctor) fn secrets_unseen() -> Finding {
    Finding::skipped(SECRETS, "the directories of secrets may not be looked into")
        .run("sudo kennelctl doctor")
}
