//! Nix, its daemon and its settings.

use std::io;
use std::path::Path;

use super::bytes;
use crate::doctor::finding::Finding;

const NIX_VERSION: &str = "nix.version";
const NIX_DAEMON: &str = "nix.daemon";
const NIX_SANDBOX: &str = "nix.sandbox";
const NIX_TRUSTED: &str = "nix.trusted-users";
const NIX_FLAKES: &str = "nix.flake-config";
const NIX_GARBAGE: &str = "nix.garbage";
const NIX_LIMITS: &str = "nix.limits";
const NIX_CONF: &str = "/etc/nix/nix.conf (on NixOS nix.settings)";

pub(in crate::doctor) fn nix_version(version: &str) -> Finding {
    Finding::ok(NIX_VERSION, version)
}

pub(in crate::doctor) fn nix_old(version: &str, (major, minor): (u32, u32)) -> Finding {
    Finding::failure(NIX_VERSION, format!("Nix is {version}, and builds need {major}.{minor}"))
        .by_hand("upgrade Nix")
}

pub(in crate::doctor) fn nix_missing() -> Finding {
    Finding::failure(NIX_VERSION, "there is no `nix` in PATH: nothing can be built").by_hand(
        "install Nix with its daemon: on Debian `apt-get install nix-bin nix-setup-systemd`",
    )
}

pub(in crate::doctor) fn nix_silent(why: &str) -> Finding {
    Finding::failure(NIX_VERSION, format!("nix {why}")).run("systemctl restart nix-daemon")
}

pub(in crate::doctor) fn nix_daemon_good() -> Finding {
    Finding::ok(NIX_DAEMON, "its socket is open to kennel-build and answers")
}

pub(in crate::doctor) fn nix_daemon_unseen() -> Finding {
    Finding::skipped(NIX_DAEMON, "its socket may not be looked at").run("sudo kennelctl doctor")
}

pub(in crate::doctor) fn nix_no_socket(path: &str) -> Finding {
    Finding::failure(NIX_DAEMON, format!("{path} is not there: no build reaches the daemon"))
        .run("systemctl enable --now nix-daemon.socket")
}

pub(in crate::doctor) fn nix_daemon_silent(error: &io::Error) -> Finding {
    Finding::failure(NIX_DAEMON, format!("nobody answers on the daemon's socket: {error}"))
        .run("systemctl restart nix-daemon.socket")
}

/// `by_group` is whether membership in the group would open it.
pub(in crate::doctor) fn nix_daemon_closed(
    path: &Path,
    mode: u32,
    group: &str,
    by_group: bool,
) -> Finding {
    let mode = mode & 0o7777;
    let sentence =
        format!("{} is closed to kennel-build ({mode:04o}, group {group})", path.display());
    let finding = Finding::failure(NIX_DAEMON, sentence);
    if by_group {
        finding.run(format!("usermod --append --groups {group} kennel-build"))
    } else {
        finding.run(format!("chmod o+x {}", path.display()))
    }
}

pub(in crate::doctor) fn nix_settings_unknown() -> Finding {
    Finding::warning(
        NIX_SANDBOX,
        "nix does not tell its settings, so nobody knows whether builds are confined",
    )
    .run("nix --extra-experimental-features nix-command config show")
}

fn nix_conf(line: &str) -> String {
    format!("set `{line}` in {NIX_CONF}, then `systemctl restart nix-daemon`")
}

pub(in crate::doctor) fn nix_sandboxed() -> Finding {
    Finding::ok(NIX_SANDBOX, "builds run in the sandbox, or not at all")
}

pub(in crate::doctor) fn nix_no_sandbox(value: &str) -> Finding {
    Finding::failure(
        NIX_SANDBOX,
        format!("sandbox = {value}: builds see the host's files and network"),
    )
    .by_hand(nix_conf("sandbox = true"))
}

pub(in crate::doctor) fn nix_sandbox_falls_back() -> Finding {
    Finding::failure(
        NIX_SANDBOX,
        "sandbox-fallback = true: a build whose sandbox cannot be made runs without",
    )
    .by_hand(nix_conf("sandbox-fallback = false"))
}

pub(in crate::doctor) fn nix_builder_untrusted() -> Finding {
    Finding::ok(NIX_TRUSTED, "kennel-build is an ordinary user to the daemon")
}

pub(in crate::doctor) fn nix_builder_trusted(name: &str) -> Finding {
    Finding::failure(
        NIX_TRUSTED,
        format!("`{name}` in trusted-users makes kennel-build root's equal to the daemon"),
    )
    .by_hand(format!(
        "take `{name}` out of trusted-users in {NIX_CONF}, then `systemctl restart nix-daemon`"
    ))
}

pub(in crate::doctor) fn nix_builder_refused(allowed: &str) -> Finding {
    Finding::failure(
        NIX_DAEMON,
        format!("allowed-users = {allowed}: the daemon refuses kennel-build"),
    )
    .by_hand(format!(
        "add `kennel-build` to allowed-users in {NIX_CONF}, then `systemctl restart nix-daemon`"
    ))
}

pub(in crate::doctor) fn nix_flakes_do_not_configure() -> Finding {
    Finding::ok(NIX_FLAKES, "repositories choose no settings of Nix")
}

pub(in crate::doctor) fn nix_flakes_configure() -> Finding {
    Finding::warning(
        NIX_FLAKES,
        "accept-flake-config = true: repositories choose substituters (Kennel's builds refuse it)",
    )
    .by_hand(nix_conf("accept-flake-config = false"))
}

pub(in crate::doctor) fn nix_collects_garbage(min_free: u64) -> Finding {
    Finding::ok(NIX_GARBAGE, format!("collected while builds run, below {} free", bytes(min_free)))
}

pub(in crate::doctor) fn nix_timer_collects_garbage() -> Finding {
    Finding::ok(NIX_GARBAGE, "collected by nix-gc.timer")
}

pub(in crate::doctor) fn nix_no_garbage_collection() -> Finding {
    Finding::warning(NIX_GARBAGE, "nothing collects garbage, and each push adds to the store")
        .by_hand(nix_conf("min-free = 5368709120"))
}

pub(in crate::doctor) fn nix_limited() -> Finding {
    Finding::ok(NIX_LIMITS, "the daemon's drop-in keeps builders from starving services")
}

pub(in crate::doctor) fn nix_unlimited() -> Finding {
    Finding::warning(
        NIX_LIMITS,
        "nix-daemon.service has no kennel.conf: builders may starve services",
    )
    .by_hand(
        "put units/builds.slice and units/nix-daemon.service.d/10-kennel.conf below \
         /etc/systemd/system, then `systemctl daemon-reload && systemctl restart nix-daemon`",
    )
}
