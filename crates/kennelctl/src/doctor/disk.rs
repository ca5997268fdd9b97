//! Room for builds, rows and the journal.

use std::path::Path;

use kennel_core::LEAST_FREE_SPACE;

use super::facts::Facts;
use super::finding::Finding;
use super::say;

/// Each with what makes room in it.
const PLACES: [(&str, &str); 3] = [
    ("/nix/store", "nix-collect-garbage"),
    ("/var/lib/kennel", "du -xhd2 /var/lib/kennel"),
    ("/var/log/journal", "journalctl --vacuum-size=500M"),
];

/// Below this many times what a build needs, the next few builds may be the last.
const AMPLE: u64 = 5;

/// A build unpacks some ten thousand files.
const LEAST_INODES: u64 = 20_000;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let look = |(place, remedy): (&'static str, &'static str)| {
        let path = facts.host.layout.host_path(Path::new(place));
        // What is not there yet will lie where its parent lies.
        let present = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
        match rustix::fs::statvfs(present) {
            Ok(room) => {
                let free = room.f_bavail.saturating_mul(room.f_frsize);
                // Some file systems make inodes as they need them, and say that there are none.
                judge(place, remedy, free, (room.f_files > 0).then_some(room.f_favail))
            }
            Err(error) => say::disk_unknown(place, &error.into()),
        }
    };
    PLACES.map(look).into()
}

fn judge(place: &str, remedy: &str, free: u64, inodes: Option<u64>) -> Finding {
    if free < LEAST_FREE_SPACE {
        say::disk_full(place, free, LEAST_FREE_SPACE, remedy)
    } else if let Some(left) = inodes.filter(|left| *left < LEAST_INODES) {
        say::inodes_gone(place, left, remedy)
    } else if free < AMPLE * LEAST_FREE_SPACE {
        say::disk_low(place, free, LEAST_FREE_SPACE, remedy)
    } else {
        say::disk_ample(place, free)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn room_in_every_measure() {
        let look = |free, inodes| judge("/nix/store", "nix-collect-garbage", free, inodes);
        insta::assert_snapshot!(said(&[
            look(300 << 20, None),
            look(3 << 30, Some(1_000_000)),
            look(30 << 30, Some(100)),
            look(30 << 30, None),
        ]));
    }
}
