//! Users, groups, and whose every path of Kennel's is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kennel_core::Layout;

use super::accounts::Accounts;
use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;
use super::tmpfiles::{self, Account, Entry};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let layout = &facts.host.layout;
    if facts.accounts.is_empty() {
        return vec![say::accounts_unread()];
    }
    let mut findings = accounts(&facts.accounts);
    findings.extend(paths(layout, &facts.accounts));
    findings.extend(secrets(layout));
    findings
}

fn accounts(known: &Accounts) -> Vec<Finding> {
    let mut missing = Vec::new();
    for account in tmpfiles::accounts() {
        match account {
            Account::User(user) if known.uid(user).is_none() => {
                missing.push(format!("user {user}"));
            }
            Account::Group(group) if known.gid(group).is_none() => {
                missing.push(format!("group {group}"));
            }
            Account::Member { user, group } if !known.is_member(user, group) => {
                missing.push(format!("{user} in group {group}"));
            }
            Account::User(_) | Account::Group(_) | Account::Member { .. } => {}
        }
    }
    if missing.is_empty() {
        vec![say::accounts_good()]
    } else {
        vec![say::accounts_missing(&missing)]
    }
}

fn paths(layout: &Layout, accounts: &Accounts) -> Vec<Finding> {
    let entries = tmpfiles::entries(layout);
    let mut findings = Vec::new();
    let mut unseen = 0;
    for entry in &entries {
        match look(layout, accounts, entry, &entry.path) {
            Look::Good => {}
            Look::Unseen => unseen += 1,
            Look::Missing => findings.push(say::path_missing(entry)),
            Look::Wrong(found) => findings.push(say::path_wrong(entry, &found)),
        }
        if entry.is_directory {
            continue;
        }
        // SQLite's own files beside a database; there only while it is open.
        for suffix in ["-wal", "-shm"] {
            let path = PathBuf::from(format!("{}{suffix}", entry.path.display()));
            if let Look::Wrong(found) = look(layout, accounts, entry, &path) {
                findings.push(say::beside_database_wrong(&path, entry, &found));
            }
        }
    }
    if unseen > 0 {
        findings.push(say::paths_unseen(unseen));
    }
    or_ok(findings, || say::paths_good(entries.len()))
}

enum Look {
    Good,
    Missing,
    /// It lies where whoever asks may not look.
    Unseen,
    /// What it is instead, in words.
    Wrong(String),
}

fn look(layout: &Layout, accounts: &Accounts, entry: &Entry, path: &Path) -> Look {
    let found = match fs::symlink_metadata(layout.host_path(path)) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Look::Unseen,
        Err(_) => return Look::Missing,
    };
    if found.is_dir() != entry.is_directory || !(found.is_dir() || found.is_file()) {
        let kind = if entry.is_directory { "no directory" } else { "no file" };
        return Look::Wrong(kind.to_owned());
    }
    let mode = found.mode() & 0o7777;
    let right = mode == entry.mode
        && Some(found.uid()) == accounts.uid(&entry.user)
        && Some(found.gid()) == accounts.gid(&entry.group);
    if right {
        Look::Good
    } else {
        let (user, group) = (accounts.user(found.uid()), accounts.group(found.gid()));
        Look::Wrong(format!("{user}:{group} {mode:04o}"))
    }
}

/// Environment files and operators' secrets that others than their owner may open. Webhook secrets
/// are `kennelctl check`'s.
fn secrets(layout: &Layout) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unseen = false;
    let mut left = vec![layout.env_dir(), layout.host_path(Path::new("/etc/kennel/secrets"))];
    while let Some(directory) = left.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                unseen |= error.kind() == ErrorKind::PermissionDenied;
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                left.push(entry.path());
            } else if found.is_file() && found.mode() & 0o077 != 0 {
                findings.push(say::secret_open(&entry.path(), found.mode() & 0o7777));
            }
        }
    }
    if unseen {
        findings.push(say::secrets_unseen());
    }
    or_ok(findings, say::secrets_good)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::said;
    use super::*;

    /// A tree whose every path is as tmpfiles.d has it, with whoever runs this as every user.
    fn tree() -> (tempfile::TempDir, Accounts) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for entry in tmpfiles::entries(&layout) {
            let path = layout.host_path(&entry.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if entry.is_directory {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::write(&path, "").unwrap();
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
        }
        let (uid, gid) =
            (fs::metadata(root.path()).unwrap().uid(), fs::metadata(root.path()).unwrap().gid());
        let users: Vec<_> = [
            "root",
            "kennel",
            "kennel-build",
            "kennel-webhook",
            "kennel-router",
            "kennel-api",
            "kennel-acme",
        ]
        .map(|it| format!("{it}:x:{uid}:{gid}::/:\n"))
        .into();
        let groups: Vec<_> = [
            "root",
            "kennel-inbox",
            "kennel-builds",
            "kennel-state",
            "kennel-bell",
            "kennel-build",
            "kennel-api",
            "kennel-router",
            "kennel-acme",
            "nix-users",
        ]
        .map(|it| format!("{it}:x:{gid}:\n"))
        .into();
        (root, Accounts::parse(&users.concat(), &groups.concat()))
    }

    fn without(root: &tempfile::TempDir, findings: &[Finding]) -> String {
        said(findings).replace(root.path().to_str().unwrap(), "")
    }

    #[test]
    fn as_systemd_makes_them() {
        let (root, users) = tree();
        let layout = Layout::under(root.path());
        let all = [accounts(&users), paths(&layout, &users), secrets(&layout)].concat();
        insta::assert_snapshot!("good", without(&root, &all));
    }

    #[test]
    fn everything_that_can_be_wrong() {
        let (root, users) = tree();
        let layout = Layout::under(root.path());
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&layout.state_db(), 0o600);
        mode(layout.builds_db().parent().unwrap(), 0o755);
        fs::remove_dir_all(layout.host_path(Path::new("/var/lib/kennel/work"))).unwrap();
        let wal = layout.host_path(Path::new("/var/lib/kennel/inbox/inbox.db-wal"));
        fs::write(&wal, "").unwrap();
        mode(&wal, 0o644);
        fs::write(layout.env_dir().join("site-main-api@1.env"), "").unwrap();
        mode(&layout.env_dir().join("site-main-api@1.env"), 0o644);
        // Whoever runs this is each of the users; its first name is found.
        let who = |text: String| text.replace("is kennel:kennel-acme ", "is USER:GROUP ");
        let all = [paths(&layout, &users), secrets(&layout)].concat();
        insta::assert_snapshot!("bad", who(without(&root, &all)));
    }

    #[test]
    fn accounts_that_are_not_there() {
        let some = Accounts::parse(
            "root:x:0:0::/:\nkennel:x:999:999::/:\nkennel-build:x:998:998::/:\n",
            "root:x:0:\nkennel-inbox:x:1:kennel\nkennel-builds:x:2:kennel\nkennel-state:x:3:kennel\nkennel-bell:x:4:kennel\nnix-users:x:5:\n",
        );
        insta::assert_snapshot!(
            "accounts",
            said(
                &[
                    accounts(&some),
                    vec![say::accounts_unread(), say::paths_unseen(3), say::secrets_unseen()]
                ]
                .concat()
            )
        );
    }
}
