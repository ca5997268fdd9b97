//! The kernel and the clock.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::facts::Facts;
use super::finding::Finding;
use super::{command, say};

/// Without them the limits of units are written and do not act.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let read = |path| fs::read_to_string(facts.host.layout.host_path(Path::new(path))).ok();
    let clock =
        command::ask(&["timedatectl", "show", "--property=NTPSynchronized", "--value"]).await;
    let clock = clock.ok().filter(|answer| answer.succeeded).map(|answer| answer.out);
    vec![
        landlock(read("/sys/kernel/security/lsm").as_deref()),
        cgroups(read("/sys/fs/cgroup/cgroup.controllers").as_deref()),
        match clock.as_deref().map(str::trim) {
            Some("yes") => say::clock_good(),
            Some(_) => say::clock_alone(),
            None => say::clock_unknown(),
        },
    ]
}

fn landlock(modules: Option<&str>) -> Finding {
    match modules {
        Some(modules) if modules.split([',', '\n']).any(|it| it == "landlock") => {
            say::landlock_good()
        }
        Some(_) => say::landlock_off(),
        None => say::landlock_unknown(),
    }
}

fn cgroups(controllers: Option<&str>) -> Finding {
    let there: Vec<_> = controllers.unwrap_or_default().split_whitespace().collect();
    let missing: Vec<_> = CONTROLLERS.into_iter().filter(|it| !there.contains(it)).collect();
    match (controllers, missing.as_slice()) {
        (Some(_), []) => say::cgroups_good(),
        (Some(_), missing) => say::cgroups_missing(&missing.join(", ")),
        (None, _) => say::cgroups_old(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn every_sentence() {
        insta::assert_snapshot!(said(&[
            landlock(Some("lockdown,capability,landlock,yama\n")),
            landlock(Some("capability,yama")),
            landlock(None),
            cgroups(Some("cpuset cpu io memory hugetlb pids\n")),
            cgroups(Some("cpu io\n")),
            cgroups(None),
            say::clock_good(),
            say::clock_alone(),
            say::clock_unknown(),
        ]));
    }
}
