//! Whether a build ran out of memory, as the cgroups count it.
//!
//! Builders are children of the Nix daemon: Nix itself only says that one failed, and how that
//! looks is up to the builder. Nix, which evaluates, is a child of this program: systemd ends the
//! whole unit for it, but not before this program may have said that Nix was killed.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the daemon is by Kennel's drop-in, and where one is that has run since before that. If the
/// operator gives it another slice, the reason of a failed build does without this.
const EVENTS: [&str; 2] = [
    "/sys/fs/cgroup/builds.slice/nix-daemon.service/memory.events",
    "/sys/fs/cgroup/system.slice/nix-daemon.service/memory.events",
];

/// Whose memory was not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// Nix's own, which evaluates.
    Evaluation,
    /// That of all builders.
    Builders,
}

/// Both counts at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    own: Kills,
    builders: Kills,
}

impl Memory {
    /// Looks.
    pub(crate) fn now() -> Self {
        let own = own_events().map_or(Kills(None), |events| Kills::read(&events));
        let builders = EVENTS.iter().map(Path::new).find(|events| events.exists());
        Self { own, builders: builders.map_or(Kills(None), Kills::read) }
    }

    /// Whose it was since, if anybody's.
    pub(crate) fn short_since(self, before: Self) -> Option<Short> {
        if self.own.grew_since(before.own) {
            Some(Short::Evaluation)
        } else if self.builders.grew_since(before.builders) {
            Some(Short::Builders)
        } else {
            None
        }
    }
}

fn own_events() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(own).join("memory.events"))
}

/// How many processes of a cgroup the kernel has ended for want of memory so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kills(Option<u64>);

impl Kills {
    fn read(events: &Path) -> Self {
        let events = fs::read_to_string(events).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Self(count.and_then(|count| count.parse().ok()))
    }

    /// Whether there were more since. A daemon that was started later counts from nothing again.
    fn grew_since(self, before: Self) -> bool {
        self.0.is_some_and(|now| now > before.0.filter(|before| *before <= now).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_ones_count() {
        let kills = |count| Kills(Some(count));
        assert!(kills(3).grew_since(kills(2)));
        assert!(!kills(3).grew_since(kills(3)));
        assert!(kills(1).grew_since(kills(7)));
        assert!(!kills(0).grew_since(kills(7)));
        assert!(kills(1).grew_since(Kills(None)));
        assert!(!Kills(None).grew_since(kills(7)));
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        assert_eq!(Kills::read(&file), Kills(None));
        fs::write(&file, "low 0\nhigh 12\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n").unwrap();
        assert_eq!(Kills::read(&file), Kills(Some(2)));
    }
}
