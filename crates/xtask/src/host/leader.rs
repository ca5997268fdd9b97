//! The host's PID 1, by the number that the machine knows it by.

use std::fs;

use crate::process::ProcessId;

/// The child of systemd-nspawn that is process 1 of its own PID namespace.
///
/// While it starts, systemd-nspawn has other children; they are nobody's process 1.
pub(super) fn of(nspawn: ProcessId) -> Option<i32> {
    nspawn.children().into_iter().find(|pid| is_first_of_its_namespace(*pid))
}

fn is_first_of_its_namespace(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let Some(ids) = status.lines().find_map(|line| line.strip_prefix("NSpid:")) else {
        return false;
    };
    ids.split_whitespace().count() > 1 && ids.split_whitespace().next_back() == Some("1")
}
