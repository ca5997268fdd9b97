//! systemd itself, and Kennel's units in it.

use crate::doctor::finding::Finding;

const SYSTEMD: &str = "systemd.version";
const BUS: &str = "systemd.bus";
const INSTALLED: &str = "systemd.units";
const STARTED: &str = "systemd.started";
const FAILED: &str = "systemd.failed";

pub(in crate::doctor) fn systemd_version(version: u32) -> Finding {
    Finding::ok(SYSTEMD, version.to_string())
}

pub(in crate::doctor) fn systemd_old(version: u32, oldest: u32) -> Finding {
    Finding::failure(SYSTEMD, format!("systemd is {version}, and Kennel needs {oldest}"))
        .by_hand("upgrade the host; Debian 13 has 257")
}

pub(in crate::doctor) fn systemd_unknown(why: &str) -> Finding {
    Finding::failure(SYSTEMD, format!("systemctl {why}")).by_hand("install systemd")
}

pub(in crate::doctor) fn bus_good() -> Finding {
    Finding::ok(BUS, "D-Bus answers")
}

pub(in crate::doctor) fn bus_broken(why: &str) -> Finding {
    Finding::failure(BUS, format!("nobody reaches systemd over D-Bus: {why}"))
        .run("systemctl start dbus.socket dbus.service")
}

pub(in crate::doctor) fn units_unknown(why: &str) -> Finding {
    Finding::skipped(INSTALLED, format!("systemd was not asked for units: {why}"))
        .run("sudo kennelctl doctor")
}

pub(in crate::doctor) fn units_good(count: usize) -> Finding {
    Finding::ok(INSTALLED, format!("{count} unit files are loaded, none is masked"))
}

pub(in crate::doctor) fn units_missing() -> Finding {
    Finding::failure(INSTALLED, "systemd knows no unit of Kennel's: it is not installed")
        .by_hand("install it as README.md says, then `systemctl daemon-reload`")
}

pub(in crate::doctor) fn unit_missing(unit: &str) -> Finding {
    Finding::failure(INSTALLED, format!("{unit} is missing"))
        .by_hand("install Kennel again, then `systemctl daemon-reload`")
}

pub(in crate::doctor) fn unit_masked(unit: &str) -> Finding {
    Finding::failure(INSTALLED, format!("{unit} is masked, so that nothing can start it"))
        .run(format!("systemctl unmask {unit}"))
}

pub(in crate::doctor) fn unit_unreadable(unit: &str, trouble: &str) -> Finding {
    Finding::failure(INSTALLED, format!("systemd cannot use {unit}: {trouble}"))
        .run(format!("systemd-analyze verify {unit}"))
}

pub(in crate::doctor) fn units_outdated() -> Finding {
    Finding::warning(INSTALLED, "systemd knows older versions of Kennel's units than there are")
        .run("systemctl daemon-reload")
}

pub(in crate::doctor) fn target_good() -> Finding {
    Finding::ok(STARTED, "kennel.target and all that it wants are up")
}

pub(in crate::doctor) fn target_down() -> Finding {
    Finding::failure(STARTED, "kennel.target is not started: no webhook is heard, nothing is built")
        .run("systemctl enable --now kennel.target")
}

pub(in crate::doctor) fn target_disabled() -> Finding {
    Finding::warning(STARTED, "kennel.target runs, and will not after the next boot")
        .run("systemctl enable kennel.target")
}

pub(in crate::doctor) fn unit_down(unit: &str) -> Finding {
    Finding::failure(STARTED, format!("{unit} is down although kennel.target wants it"))
        .run(format!("systemctl start {unit}"))
}

pub(in crate::doctor) fn no_unit_failed() -> Finding {
    Finding::ok(FAILED, "no unit of Kennel's has failed")
}

pub(in crate::doctor) fn unit_failed(unit: &str, last_words: &str) -> Finding {
    let last = if last_words.is_empty() {
        String::new()
    } else {
        format!("; its last line: {last_words}")
    };
    Finding::failure(FAILED, format!("{unit} has failed{last}"))
        .run(format!("journalctl --unit {unit} --lines 30 --no-pager"))
}
