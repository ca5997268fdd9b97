//! The files that systemd reads, compared with each other and with the programs.
//!
//! Text only: nothing here needs systemd. A score of `systemd-analyze security` alone can be
//! gamed, so that every wall of a sandbox and every hole in it stand here too.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a test's way to fail")]

#[cfg(test)]
mod directories;
#[cfg(test)]
mod holes;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod target;
#[cfg(test)]
mod unit;
#[cfg(test)]
mod walls;

use std::fs;
use std::path::{Path, PathBuf};

/// Programs that face something: each has all of [`walls::WALLS`], and only its own
/// [`holes::HOLES`].
const SANDBOXED: [&str; 15] = [
    "kennel-acme.service",
    "kennel-api.service",
    "kennel-build@.service",
    "kennel-deploy@.service",
    "kennel-dispatch.service",
    "kennel-poll.service",
    "kennel-restore.service",
    "kennel-router-relief.service",
    "kennel-router.service",
    "kennel-routes.service",
    "kennel-sleep.service",
    "kennel-sweep.service",
    "kennel-teardown@.service",
    "kennel-tidy.service",
    "kennel-webhook.service",
];

/// A file's lines without comments and empty ones.
fn lines(file: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
