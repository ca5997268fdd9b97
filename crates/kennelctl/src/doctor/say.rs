//! Every line that the doctor says, one function for each, with the next move: here what belongs to
//! no check, and below one file for each that looks at something.
//!
//! What follows `run` is a command that root can copy as it is.

mod certificates;
mod configuration;
mod databases;
mod deployments;
mod disk;
mod dns;
mod forges;
mod machine;
mod nix;
mod permissions;
mod polkit;
mod ports;
mod preview_databases;
mod router;
mod rows;
mod secrets;
mod systemd;
mod webhook;

use std::time::Duration;

pub(super) use self::certificates::*;
pub(super) use self::configuration::*;
pub(super) use self::databases::*;
pub(super) use self::deployments::*;
pub(super) use self::disk::*;
pub(super) use self::dns::*;
pub(super) use self::forges::*;
pub(super) use self::machine::*;
pub(super) use self::nix::*;
pub(super) use self::permissions::*;
pub(super) use self::polkit::*;
pub(super) use self::ports::*;
pub(super) use self::preview_databases::*;
pub(super) use self::router::*;
pub(super) use self::rows::*;
pub(super) use self::secrets::*;
pub(super) use self::systemd::*;
pub(super) use self::webhook::*;
use super::finding::Finding;

const TMPFILES: &str = "systemd-tmpfiles --create kennel.conf";
const RESTORE: &str = "systemctl start kennel-restore";

/// A group's heading.
pub(super) fn group(name: &str) -> &str {
    match name {
        "configuration" => "Configuration",
        "permissions" => "Users and permissions",
        "databases" => "Databases",
        "nix" => "Nix",
        "host" => "Host",
        "network" => "Network",
        "router" => "Router",
        "deployments" => "Deployments",
        other => other,
    }
}

pub(super) fn more(count: usize) -> String {
    format!("and {count} more; --json lists them all")
}

pub(super) fn total(good: usize, warned: usize, failed: usize, skipped: usize) -> String {
    let count = |n: usize, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let parts = [
        count(failed, "failure", "failures"),
        count(warned, "warning", "warnings"),
        count(good, "check is good", "checks are good"),
        count(skipped, "was skipped", "were skipped"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub(super) fn as_root() -> &'static str {
    "what was skipped, root may look at: `sudo kennelctl doctor`"
}

pub(super) fn broke(check: &'static str) -> Finding {
    Finding::failure(check, "the doctor itself failed at this check, which is a fault of kennelctl")
        .by_hand("report it with what stands above")
}

pub(super) fn hangs(check: &'static str, limit: Duration) -> Finding {
    Finding::failure(
        check,
        format!("no answer within {} s; something that it asks hangs", limit.as_secs()),
    )
    .by_hand("look for disks, mounts and services that do not answer: `dmesg | tail`")
}

pub(super) fn only_files() -> Finding {
    Finding::skipped("host.live", "only files were looked at, since --root is not this host")
}

/// `640 KiB`, `3.5 GiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (count.saturating_mul(10) >> 10, "KiB");
    for larger in UNITS.into_iter().skip(1) {
        if tenths < 10 << 10 {
            break;
        }
        (tenths, unit) = (tenths >> 10, larger);
    }
    if tenths < 100 && unit != "KiB" {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths.div_ceil(10))
    }
}
