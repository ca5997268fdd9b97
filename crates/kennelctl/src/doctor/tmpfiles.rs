//! What `tmpfiles.d/kennel.conf` and `sysusers.d/kennel.conf` say shall be there.
//!
//! The files that are shipped with this program, so that there is no second list; the operator's
//! own file of the same name in /etc replaces that of the directories, as it does for systemd.

use std::fs;
use std::path::{Path, PathBuf};

use kennel_core::Layout;

const TMPFILES: &str = include_str!("../../../../tmpfiles.d/kennel.conf");
const SYSUSERS: &str = include_str!("../../../../sysusers.d/kennel.conf");

/// A directory or file, tmpfiles.d(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_directory: bool,
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) user: String,
    pub(super) group: String,
}

/// What systemd-tmpfiles makes on this host.
pub(super) fn entries(layout: &Layout) -> Vec<Entry> {
    let own = layout.host_path(Path::new("/etc/tmpfiles.d/kennel.conf"));
    parse(&fs::read_to_string(own).unwrap_or_else(|_| TMPFILES.to_owned()))
}

fn parse(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let is_directory = match fields.next()? {
            "d" => true,
            "f" => false,
            _ => return None,
        };
        Some(Entry {
            is_directory,
            path: fields.next()?.into(),
            mode: u32::from_str_radix(fields.next()?, 8).ok()?,
            user: fields.next()?.to_owned(),
            group: fields.next()?.to_owned(),
        })
    };
    text.lines().filter_map(entry).collect()
}

/// What a line of sysusers.d(5) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    User(&'static str),
    Group(&'static str),
    Member { user: &'static str, group: &'static str },
}

/// The users, groups and memberships that Kennel has.
pub(super) fn accounts() -> impl Iterator<Item = Account> {
    SYSUSERS.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some(match (fields.next()?, fields.next()?, fields.next()) {
            ("u", user, _) => Account::User(user),
            ("g", group, _) => Account::Group(group),
            ("m", user, Some(group)) => Account::Member { user, group },
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_files_are_understood() {
        let lines = |text: &str| {
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
        };
        assert_eq!(parse(TMPFILES).len(), lines(TMPFILES));
        assert_eq!(accounts().count(), lines(SYSUSERS));
        let state = parse(TMPFILES).into_iter().find(|it| it.path.ends_with("state.db")).unwrap();
        assert_eq!((state.mode, state.group.as_str()), (0o660, "kennel-state"));
    }
}
