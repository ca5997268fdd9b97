//! How much room there is.

use std::io;

use super::bytes;
use crate::doctor::finding::Finding;

const DISK: &str = "host.disk";

pub(in crate::doctor) fn disk_ample(place: &str, free: u64) -> Finding {
    Finding::ok(DISK, format!("{} are free in {place}", bytes(free)))
}

pub(in crate::doctor) fn disk_low(place: &str, free: u64, least: u64, remedy: &str) -> Finding {
    let sentence =
        format!("{} are free in {place}; below {} nothing is built", bytes(free), bytes(least));
    Finding::warning(DISK, sentence).run(remedy)
}

pub(in crate::doctor) fn disk_full(place: &str, free: u64, least: u64, remedy: &str) -> Finding {
    let sentence =
        format!("only {} are free in {place}, and a build needs {}", bytes(free), bytes(least));
    Finding::failure(DISK, sentence).run(remedy)
}

pub(in crate::doctor) fn inodes_gone(place: &str, left: u64, remedy: &str) -> Finding {
    Finding::failure(DISK, format!("only {left} files can still be made in {place} (inodes)"))
        .run(remedy)
}

pub(in crate::doctor) fn disk_unknown(place: &str, error: &io::Error) -> Finding {
    Finding::skipped(DISK, format!("nobody knows how much is free in {place}: {error}"))
}
