//! Directories, and the users and groups that own them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kennel_core::{BuildId, Layout};

use crate::lines;
use crate::unit::all;

#[test]
fn directories_are_where_programs_look() {
    let layout = Layout::default();
    let build = BuildId::from_row(1);
    let project = "p".parse().unwrap();
    let slug = kennel_core::BranchSlug::candidates(&"refs/heads/b".parse().unwrap()).next();
    let parent = |path: PathBuf| path.parent().unwrap().to_path_buf();
    let needed = [
        (parent(layout.config()), "0755 root root"),
        (layout.projects(), "0755 root root"),
        (layout.webhook_secrets(), "0700 root root"),
        (layout.acme_credentials(), "0700 root root"),
        (layout.tokens(), "2750 root kennel-api"),
        (parent(layout.secrets(&project)), "0700 root root"),
        (parent(layout.inbox_db()), "2770 kennel kennel-inbox"),
        (layout.inbox_db(), "0660 kennel kennel-inbox"),
        (parent(layout.builds_db()), "2770 kennel kennel-builds"),
        (layout.builds_db(), "0660 kennel kennel-builds"),
        (parent(layout.state_db()), "2770 kennel kennel-state"),
        (layout.state_db(), "0660 kennel kennel-state"),
        (parent(layout.mirror(&project)), "0700 kennel-build kennel-build"),
        (parent(layout.cache(&project)), "0700 kennel-build kennel-build"),
        (parent(layout.work(build)), "0700 kennel-build kennel-build"),
        (layout.looks(), "2750 kennel-build kennel-state"),
        (parent(layout.logs(build)), "2750 kennel-build kennel-state"),
        (parent(layout.build_roots(build)), "2775 kennel-build root"),
        (layout.deployment_roots(), "0755 root root"),
        (parent(parent(layout.sites(&project, &slug.unwrap().unwrap()))), "0755 root root"),
        (parent(layout.route_table()), "0755 root root"),
        (parent(layout.route_lock()), "0755 root root"),
        (parent(layout.logins()), "2750 root kennel-router"),
        (parent(layout.secret_lock()), "0755 root root"),
        (parent(layout.database_key()), "0700 root root"),
        (parent(layout.database_lock()), "0700 root root"),
        (layout.certificates(), "2750 kennel-acme kennel-router"),
        (layout.acme_challenges(), "2750 kennel-acme kennel-router"),
        (parent(layout.acme_account()), "0755 kennel-acme kennel-acme"),
        (layout.env_dir(), "0700 root root"),
        (parent(layout.bell()), "0755 root root"),
        (parent(layout.wake_socket(kennel_core::DeploymentId::from_row(1))), "0755 root root"),
        (parent(layout.data(&"kennel-p-b-s".parse().unwrap())), "0755 root root"),
    ];
    let needed: BTreeMap<_, _> = needed.into();
    let mut made = tmpfiles();
    for (path, owner) in &needed {
        assert_eq!(made.remove(path).as_deref(), Some(*owner), "{}", path.display());
    }
    // For people.
    assert!(made.remove(Path::new("/var/lib/kennel")).is_some());
    assert!(made.is_empty(), "no program looks there: {made:?}");
}

#[test]
fn what_a_unit_may_write_exists() {
    let made = tmpfiles();
    for unit in all() {
        for path in unit.values("ReadWritePaths").flat_map(str::split_whitespace) {
            let path = Path::new(path.trim_start_matches('-'));
            assert!(
                made.contains_key(path) || path.ends_with("systemd/system"),
                "{} fails to start without {}",
                unit.name,
                path.display()
            );
        }
    }
}

#[test]
fn users_and_groups_exist() {
    let mut known = BTreeSet::from(["root".to_owned()]);
    for line in lines("sysusers.d/kennel.conf") {
        let mut fields = line.split_whitespace();
        if let (Some("u" | "g"), Some(name)) = (fields.next(), fields.next()) {
            known.insert(name.to_owned());
        }
    }
    for unit in all() {
        for key in ["User", "Group", "SupplementaryGroups", "SocketUser", "SocketGroup"] {
            for name in unit.values(key).flat_map(str::split_whitespace) {
                assert!(known.contains(name), "{}: {key}={name}", unit.name);
            }
        }
    }
    for (path, owner) in tmpfiles() {
        for name in owner.split_whitespace().skip(1) {
            assert!(known.contains(name), "{}: {name}", path.display());
        }
    }
}

/// Path to mode, user and group.
fn tmpfiles() -> BTreeMap<PathBuf, String> {
    let entry = |line: String| {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert!(["d", "f"].contains(&fields[0]), "{line}");
        (PathBuf::from(fields[1]), fields[2..5].join(" "))
    };
    lines("tmpfiles.d/kennel.conf").into_iter().map(entry).collect()
}
