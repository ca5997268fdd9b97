//! Users and groups, as the host's own files have them.
//!
//! Not by asking the C library: a tree of files has its own, and Kennel's are always local.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kennel_core::Layout;

/// /etc/passwd and /etc/group.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Name to user id and group id.
    users: BTreeMap<String, (u32, u32)>,
    /// Name to group id and members.
    groups: BTreeMap<String, (u32, Vec<String>)>,
}

impl Accounts {
    /// Reads both; one that cannot be read is empty.
    pub(super) fn read(layout: &Layout) -> Self {
        let text = |path| fs::read_to_string(layout.host_path(Path::new(path))).unwrap_or_default();
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    /// passwd(5) and group(5).
    pub(super) fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((name, (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))
        };
        let group_of = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let id = fields.nth(1)?.parse().ok()?;
            let members = fields.next().unwrap_or_default().split(',').map(str::to_owned);
            Some((name, (id, members.collect())))
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() || self.groups.is_empty()
    }

    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.users.get(name).map(|(uid, _)| *uid)
    }

    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.get(name).map(|(gid, _)| *gid)
    }

    /// A user's name, or its number.
    pub(super) fn user(&self, uid: u32) -> String {
        let named = self.users.iter().find(|(_, (id, _))| *id == uid);
        named.map_or_else(|| uid.to_string(), |(name, _)| name.clone())
    }

    /// A group's name, or its number.
    pub(super) fn group(&self, gid: u32) -> String {
        let named = self.groups.iter().find(|(_, (id, _))| *id == gid);
        named.map_or_else(|| gid.to_string(), |(name, _)| name.clone())
    }

    /// Whether the user is in the group, as a member or because it is its own.
    pub(super) fn is_member(&self, user: &str, group: &str) -> bool {
        let Some((gid, members)) = self.groups.get(group) else { return false };
        let own = self.users.get(user).is_some_and(|(_, own)| own == gid);
        own || members.iter().any(|member| member == user)
    }

    /// Whether the user may do to a file of this owner, group and mode what `bits` (of one digit)
    /// says.
    pub(super) fn may(&self, user: &str, (uid, gid, mode): (u32, u32, u32), bits: u32) -> bool {
        let allowed = if self.uid(user) == Some(uid) {
            mode >> 6
        } else if self.is_member(user, &self.group(gid)) {
            mode >> 3
        } else {
            mode
        };
        allowed & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_what() {
        let accounts = Accounts::parse(
            "root:x:0:0::/root:/bin/sh\nkennel-build:x:995:995::/:/sbin/nologin\n",
            "root:x:0:\nkennel-build:x:995:\nnix-users:x:30000:alice,kennel-build\n",
        );
        assert!(accounts.is_member("kennel-build", "kennel-build"));
        assert!(accounts.is_member("kennel-build", "nix-users"));
        assert!(!accounts.is_member("kennel-build", "root"));
        assert!(accounts.may("kennel-build", (0, 30000, 0o770), 0o1));
        assert!(!accounts.may("kennel-build", (0, 0, 0o770), 0o1));
        assert!(accounts.may("kennel-build", (0, 0, 0o666), 0o2));
        assert_eq!((accounts.user(995), accounts.group(7)), ("kennel-build".into(), "7".into()));
    }
}
