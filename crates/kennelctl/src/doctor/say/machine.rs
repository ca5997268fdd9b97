//! What the kernel and the clock have to offer.

use crate::doctor::finding::Finding;

const LANDLOCK: &str = "host.landlock";
const CGROUPS: &str = "host.cgroups";
const CLOCK: &str = "host.clock";

pub(in crate::doctor) fn landlock_good() -> Finding {
    Finding::ok(LANDLOCK, "the kernel confines builds")
}

pub(in crate::doctor) fn landlock_off() -> Finding {
    Finding::failure(LANDLOCK, "the kernel runs without Landlock, and no build runs without it")
        .by_hand("boot with `landlock` in the kernel's `lsm=` parameter, on Linux 5.13 or newer")
}

pub(in crate::doctor) fn landlock_unknown() -> Finding {
    Finding::skipped(LANDLOCK, "/sys/kernel/security/lsm cannot be read here")
}

pub(in crate::doctor) fn cgroups_good() -> Finding {
    Finding::ok(CGROUPS, "limits of memory, CPU and tasks act")
}

pub(in crate::doctor) fn cgroups_missing(controllers: &str) -> Finding {
    Finding::warning(CGROUPS, format!("limits do not act: the cgroup controllers {controllers} are missing"))
        .by_hand("a container needs them from its host; otherwise remove `cgroup_disable=` from the kernel's parameters")
}

pub(in crate::doctor) fn cgroups_old() -> Finding {
    Finding::warning(CGROUPS, "limits do not act: there is no unified cgroup hierarchy")
        .by_hand("boot with `systemd.unified_cgroup_hierarchy=1`")
}

pub(in crate::doctor) fn clock_good() -> Finding {
    Finding::ok(CLOCK, "synchronised")
}

pub(in crate::doctor) fn clock_alone() -> Finding {
    Finding::warning(CLOCK, "not synchronised: certificates and times in logs may be wrong")
        .by_hand("`apt-get install systemd-timesyncd`, or another NTP client; in a container it is the host's to do")
}

pub(in crate::doctor) fn clock_unknown() -> Finding {
    Finding::skipped(CLOCK, "timedatectl does not tell whether it is synchronised")
}
