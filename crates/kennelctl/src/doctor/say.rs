//! Every line that the doctor says, one function for each, with the next move.
//!
//! What follows `run` is a command that root can copy as it is.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use kennel_core::{DeploymentId, HostName, OutputKind, Port, StorePath, UnitName};

use super::finding::Finding;
use super::listeners::Listener;
use super::tmpfiles::Entry;

const TMPFILES: &str = "systemd-tmpfiles --create kennel.conf";
const RESTORE: &str = "systemctl start kennel-restore";
const DISPATCH: &str = "systemctl start kennel-dispatch";
const NIX_CONF: &str = "/etc/nix/nix.conf (on NixOS nix.settings)";

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

/// In the order of their checks, whatever order they were found in.
pub(super) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    const ORDER: [&str; 6] = [UNITS, FILES, ROUTES, JOBS, DRAINS, QUEUE];
    findings.sort_by_key(|finding| ORDER.iter().position(|check| *check == finding.check));
    findings
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

// Configuration.

const CONFIGURATION: &str = "configuration.files";

pub(super) fn configuration_good(notes: usize) -> Finding {
    let notes = match notes {
        0 => String::new(),
        1 => ", with 1 note".to_owned(),
        n => format!(", with {n} notes"),
    };
    Finding::ok(CONFIGURATION, format!("`kennelctl check` finds no error{notes}"))
}

pub(super) fn configuration_wrong(errors: usize, first: &str) -> Finding {
    let more = match errors {
        1 => String::new(),
        n => format!(" (the first of {n} errors)"),
    };
    Finding::failure(CONFIGURATION, format!("{first}{more}")).run("kennelctl check")
}

pub(super) fn configuration_unread(places: usize) -> Finding {
    Finding::skipped(CONFIGURATION, format!("{places} places may not be read"))
        .run("sudo kennelctl doctor")
}

// Users and permissions.

const ACCOUNTS: &str = "permissions.accounts";
const PATHS: &str = "permissions.paths";
const SECRETS: &str = "permissions.secrets";

pub(super) fn accounts_good() -> Finding {
    Finding::ok(ACCOUNTS, "Kennel's users and groups exist")
}

pub(super) fn accounts_missing(missing: &[String]) -> Finding {
    Finding::failure(ACCOUNTS, format!("missing: {}", missing.join(", ")))
        .run("systemd-sysusers kennel.conf")
}

pub(super) fn accounts_unread() -> Finding {
    Finding::skipped(ACCOUNTS, "/etc/passwd or /etc/group cannot be read")
}

pub(super) fn paths_good(count: usize) -> Finding {
    Finding::ok(PATHS, format!("{count} paths have their owner, group and mode"))
}

pub(super) fn path_missing(entry: &Entry) -> Finding {
    Finding::failure(PATHS, format!("{} is missing", entry.path.display())).run(TMPFILES)
}

fn owner(entry: &Entry) -> String {
    format!("{}:{} {:04o}", entry.user, entry.group, entry.mode)
}

pub(super) fn path_wrong(entry: &Entry, found: &str) -> Finding {
    let sentence = format!("{} is {found}, not {}", entry.path.display(), owner(entry));
    Finding::failure(PATHS, sentence).run(TMPFILES)
}

pub(super) fn beside_database_wrong(path: &Path, entry: &Entry, found: &str) -> Finding {
    let place = path.display();
    let sentence = format!("{place} is {found}, not {}", owner(entry));
    let Entry { user, group, mode, .. } = entry;
    Finding::failure(PATHS, sentence)
        .run(format!("chown {user}:{group} {place} && chmod {mode:04o} {place}"))
}

pub(super) fn paths_unseen(count: usize) -> Finding {
    Finding::skipped(PATHS, format!("{count} paths may not be looked at"))
        .run("sudo kennelctl doctor")
}

pub(super) fn secrets_good() -> Finding {
    Finding::ok(SECRETS, "only their owners read environments and secrets")
}

pub(super) fn secret_open(path: &Path, mode: u32) -> Finding {
    let place = path.display();
    Finding::failure(
        SECRETS,
        format!("{place} can be opened by others than its owner ({mode:04o})"),
    )
    .run(format!("chmod go= {place}"))
}

pub(super) fn secrets_unseen() -> Finding {
    Finding::skipped(SECRETS, "the directories of secrets may not be looked into")
        .run("sudo kennelctl doctor")
}

// Databases.

pub(super) fn database_unread(check: &'static str, path: &Path, error: &io::Error) -> Finding {
    let place = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Finding::skipped(check, format!("{place} may not be opened"))
            .run("sudo kennelctl doctor");
    }
    Finding::failure(check, format!("{place} cannot be opened: {error}")).run(TMPFILES)
}

pub(super) fn database_new(check: &'static str) -> Finding {
    Finding::ok(check, "empty; no program has opened it yet")
}

pub(super) fn database_whole(check: &'static str, schema: u32, size: u64) -> Finding {
    Finding::ok(check, format!("whole, schema {schema}, {}", bytes(size)))
}

pub(super) fn database_newer(check: &'static str, path: &Path, found: u32, known: u32) -> Finding {
    let sentence = format!("{} has schema {found}, and this version knows {known}", path.display());
    Finding::failure(check, sentence).by_hand("install the newer version of Kennel again")
}

pub(super) fn database_damaged(check: &'static str, path: &Path, why: &str) -> Finding {
    Finding::failure(check, format!("{} is damaged: {why}", path.display())).by_hand(
        "`systemctl stop kennel.target`, put the backup in its place (docs/operations.md, \
         \"Backup\"), `systemctl start kennel.target`",
    )
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

// systemd.

const SYSTEMD: &str = "systemd.version";
const BUS: &str = "systemd.bus";
const POLKIT: &str = "systemd.polkit";
const INSTALLED: &str = "systemd.units";
const STARTED: &str = "systemd.started";
const FAILED: &str = "systemd.failed";

pub(super) fn systemd_version(version: u32) -> Finding {
    Finding::ok(SYSTEMD, version.to_string())
}

pub(super) fn systemd_old(version: u32, oldest: u32) -> Finding {
    Finding::failure(SYSTEMD, format!("systemd is {version}, and Kennel needs {oldest}"))
        .by_hand("upgrade the host; Debian 13 has 257")
}

pub(super) fn systemd_unknown(why: &str) -> Finding {
    Finding::failure(SYSTEMD, format!("systemctl {why}")).by_hand("install systemd")
}

pub(super) fn bus_good() -> Finding {
    Finding::ok(BUS, "D-Bus answers")
}

pub(super) fn bus_broken(why: &str) -> Finding {
    Finding::failure(BUS, format!("nobody reaches systemd over D-Bus: {why}"))
        .run("systemctl start dbus.socket dbus.service")
}

pub(super) fn units_unknown(why: &str) -> Finding {
    Finding::skipped(INSTALLED, format!("systemd was not asked for units: {why}"))
        .run("sudo kennelctl doctor")
}

pub(super) fn units_good(count: usize) -> Finding {
    Finding::ok(INSTALLED, format!("{count} unit files are loaded, none is masked"))
}

pub(super) fn units_missing() -> Finding {
    Finding::failure(INSTALLED, "systemd knows no unit of Kennel's: it is not installed")
        .by_hand("install it as README.md says, then `systemctl daemon-reload`")
}

pub(super) fn unit_missing(unit: &str) -> Finding {
    Finding::failure(INSTALLED, format!("{unit} is missing"))
        .by_hand("install Kennel again, then `systemctl daemon-reload`")
}

pub(super) fn unit_masked(unit: &str) -> Finding {
    Finding::failure(INSTALLED, format!("{unit} is masked, so that nothing can start it"))
        .run(format!("systemctl unmask {unit}"))
}

pub(super) fn unit_unreadable(unit: &str, trouble: &str) -> Finding {
    Finding::failure(INSTALLED, format!("systemd cannot use {unit}: {trouble}"))
        .run(format!("systemd-analyze verify {unit}"))
}

pub(super) fn units_outdated() -> Finding {
    Finding::warning(INSTALLED, "systemd knows older versions of Kennel's units than there are")
        .run("systemctl daemon-reload")
}

pub(super) fn target_good() -> Finding {
    Finding::ok(STARTED, "kennel.target and all that it wants are up")
}

pub(super) fn target_down() -> Finding {
    Finding::failure(STARTED, "kennel.target is not started: no webhook is heard, nothing is built")
        .run("systemctl enable --now kennel.target")
}

pub(super) fn target_disabled() -> Finding {
    Finding::warning(STARTED, "kennel.target runs, and will not after the next boot")
        .run("systemctl enable kennel.target")
}

pub(super) fn unit_down(unit: &str) -> Finding {
    Finding::failure(STARTED, format!("{unit} is down although kennel.target wants it"))
        .run(format!("systemctl start {unit}"))
}

pub(super) fn no_unit_failed() -> Finding {
    Finding::ok(FAILED, "no unit of Kennel's has failed")
}

pub(super) fn unit_failed(unit: &str, last_words: &str) -> Finding {
    let last = if last_words.is_empty() {
        String::new()
    } else {
        format!("; its last line: {last_words}")
    };
    Finding::failure(FAILED, format!("{unit} has failed{last}"))
        .run(format!("journalctl --unit {unit} --lines 30 --no-pager"))
}

pub(super) fn polkit_good() -> Finding {
    Finding::ok(POLKIT, "the dispatcher may start jobs and nothing else")
}

pub(super) fn polkit_refuses() -> Finding {
    Finding::failure(POLKIT, "polkit does not let the dispatcher start jobs").by_hand(
        "put 50-kennel.rules into /usr/share/polkit-1/rules.d (on NixOS security.polkit.enable), \
         then `systemctl restart polkit`",
    )
}

pub(super) fn polkit_too_open(unit: &str) -> Finding {
    Finding::warning(
        POLKIT,
        format!("polkit lets user kennel start {unit} too, and so probably any unit"),
    )
    .by_hand("look for a rule that is too wide in /etc/polkit-1/rules.d")
}

pub(super) fn polkit_broken(why: &str) -> Finding {
    Finding::failure(POLKIT, format!("polkit was asked and did not answer: {why}"))
        .run("systemctl restart polkit")
}

pub(super) fn polkit_nobody() -> Finding {
    Finding::skipped(POLKIT, "there is no user kennel to ask for")
}

pub(super) fn polkit_unseen() -> Finding {
    Finding::skipped(POLKIT, "polkit tells only root what others may").run("sudo kennelctl doctor")
}

// Nix.

const NIX_VERSION: &str = "nix.version";
const NIX_DAEMON: &str = "nix.daemon";
const NIX_SANDBOX: &str = "nix.sandbox";
const NIX_TRUSTED: &str = "nix.trusted-users";
const NIX_FLAKES: &str = "nix.flake-config";
const NIX_GARBAGE: &str = "nix.garbage";
const NIX_LIMITS: &str = "nix.limits";

pub(super) fn nix_version(version: &str) -> Finding {
    Finding::ok(NIX_VERSION, version)
}

pub(super) fn nix_old(version: &str, (major, minor): (u32, u32)) -> Finding {
    Finding::failure(NIX_VERSION, format!("Nix is {version}, and builds need {major}.{minor}"))
        .by_hand("upgrade Nix")
}

pub(super) fn nix_missing() -> Finding {
    Finding::failure(NIX_VERSION, "there is no `nix` in PATH: nothing can be built").by_hand(
        "install Nix with its daemon: on Debian `apt-get install nix-bin nix-setup-systemd`",
    )
}

pub(super) fn nix_silent(why: &str) -> Finding {
    Finding::failure(NIX_VERSION, format!("nix {why}")).run("systemctl restart nix-daemon")
}

pub(super) fn nix_daemon_good() -> Finding {
    Finding::ok(NIX_DAEMON, "its socket is open to kennel-build and answers")
}

pub(super) fn nix_daemon_unseen() -> Finding {
    Finding::skipped(NIX_DAEMON, "its socket may not be looked at").run("sudo kennelctl doctor")
}

pub(super) fn nix_no_socket(path: &str) -> Finding {
    Finding::failure(NIX_DAEMON, format!("{path} is not there: no build reaches the daemon"))
        .run("systemctl enable --now nix-daemon.socket")
}

pub(super) fn nix_daemon_silent(error: &io::Error) -> Finding {
    Finding::failure(NIX_DAEMON, format!("nobody answers on the daemon's socket: {error}"))
        .run("systemctl restart nix-daemon.socket")
}

/// `by_group` is whether membership in the group would open it.
pub(super) fn nix_daemon_closed(path: &Path, mode: u32, group: &str, by_group: bool) -> Finding {
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

pub(super) fn nix_settings_unknown() -> Finding {
    Finding::warning(
        NIX_SANDBOX,
        "nix does not tell its settings, so nobody knows whether builds are confined",
    )
    .run("nix --extra-experimental-features nix-command config show")
}

fn nix_conf(line: &str) -> String {
    format!("set `{line}` in {NIX_CONF}, then `systemctl restart nix-daemon`")
}

pub(super) fn nix_sandboxed() -> Finding {
    Finding::ok(NIX_SANDBOX, "builds run in the sandbox, or not at all")
}

pub(super) fn nix_no_sandbox(value: &str) -> Finding {
    Finding::failure(
        NIX_SANDBOX,
        format!("sandbox = {value}: builds see the host's files and network"),
    )
    .by_hand(nix_conf("sandbox = true"))
}

pub(super) fn nix_sandbox_falls_back() -> Finding {
    Finding::failure(
        NIX_SANDBOX,
        "sandbox-fallback = true: a build whose sandbox cannot be made runs without",
    )
    .by_hand(nix_conf("sandbox-fallback = false"))
}

pub(super) fn nix_builder_untrusted() -> Finding {
    Finding::ok(NIX_TRUSTED, "kennel-build is an ordinary user to the daemon")
}

pub(super) fn nix_builder_trusted(name: &str) -> Finding {
    Finding::failure(
        NIX_TRUSTED,
        format!("`{name}` in trusted-users makes kennel-build root's equal to the daemon"),
    )
    .by_hand(format!(
        "take `{name}` out of trusted-users in {NIX_CONF}, then `systemctl restart nix-daemon`"
    ))
}

pub(super) fn nix_builder_refused(allowed: &str) -> Finding {
    Finding::failure(
        NIX_DAEMON,
        format!("allowed-users = {allowed}: the daemon refuses kennel-build"),
    )
    .by_hand(format!(
        "add `kennel-build` to allowed-users in {NIX_CONF}, then `systemctl restart nix-daemon`"
    ))
}

pub(super) fn nix_flakes_do_not_configure() -> Finding {
    Finding::ok(NIX_FLAKES, "repositories choose no settings of Nix")
}

pub(super) fn nix_flakes_configure() -> Finding {
    Finding::warning(
        NIX_FLAKES,
        "accept-flake-config = true: repositories choose substituters (Kennel's builds refuse it)",
    )
    .by_hand(nix_conf("accept-flake-config = false"))
}

pub(super) fn nix_collects_garbage(min_free: u64) -> Finding {
    Finding::ok(NIX_GARBAGE, format!("collected while builds run, below {} free", bytes(min_free)))
}

pub(super) fn nix_timer_collects_garbage() -> Finding {
    Finding::ok(NIX_GARBAGE, "collected by nix-gc.timer")
}

pub(super) fn nix_no_garbage_collection() -> Finding {
    Finding::warning(NIX_GARBAGE, "nothing collects garbage, and each push adds to the store")
        .by_hand(nix_conf("min-free = 5368709120"))
}

pub(super) fn nix_limited() -> Finding {
    Finding::ok(NIX_LIMITS, "the daemon's drop-in keeps builders from starving services")
}

pub(super) fn nix_unlimited() -> Finding {
    Finding::warning(
        NIX_LIMITS,
        "nix-daemon.service has no kennel.conf: builders may starve services",
    )
    .by_hand(
        "put units/builds.slice and units/nix-daemon.service.d/kennel.conf below \
         /etc/systemd/system, then `systemctl daemon-reload && systemctl restart nix-daemon`",
    )
}

// Host.

const DISK: &str = "host.disk";
const LANDLOCK: &str = "host.landlock";
const CGROUPS: &str = "host.cgroups";
const CLOCK: &str = "host.clock";

pub(super) fn disk_ample(place: &str, free: u64) -> Finding {
    Finding::ok(DISK, format!("{} are free in {place}", bytes(free)))
}

pub(super) fn disk_low(place: &str, free: u64, least: u64, remedy: &str) -> Finding {
    let sentence =
        format!("{} are free in {place}; below {} nothing is built", bytes(free), bytes(least));
    Finding::warning(DISK, sentence).run(remedy)
}

pub(super) fn disk_full(place: &str, free: u64, least: u64, remedy: &str) -> Finding {
    let sentence =
        format!("only {} are free in {place}, and a build needs {}", bytes(free), bytes(least));
    Finding::failure(DISK, sentence).run(remedy)
}

pub(super) fn inodes_gone(place: &str, left: u64, remedy: &str) -> Finding {
    Finding::failure(DISK, format!("only {left} files can still be made in {place} (inodes)"))
        .run(remedy)
}

pub(super) fn disk_unknown(place: &str, error: &io::Error) -> Finding {
    Finding::skipped(DISK, format!("nobody knows how much is free in {place}: {error}"))
}

pub(super) fn landlock_good() -> Finding {
    Finding::ok(LANDLOCK, "the kernel confines builds")
}

pub(super) fn landlock_off() -> Finding {
    Finding::failure(LANDLOCK, "the kernel runs without Landlock, and no build runs without it")
        .by_hand("boot with `landlock` in the kernel's `lsm=` parameter, on Linux 5.13 or newer")
}

pub(super) fn landlock_unknown() -> Finding {
    Finding::skipped(LANDLOCK, "/sys/kernel/security/lsm cannot be read here")
}

pub(super) fn cgroups_good() -> Finding {
    Finding::ok(CGROUPS, "limits of memory, CPU and tasks act")
}

pub(super) fn cgroups_missing(controllers: &str) -> Finding {
    Finding::warning(CGROUPS, format!("limits do not act: the cgroup controllers {controllers} are missing"))
        .by_hand("a container needs them from its host; otherwise remove `cgroup_disable=` from the kernel's parameters")
}

pub(super) fn cgroups_old() -> Finding {
    Finding::warning(CGROUPS, "limits do not act: there is no unified cgroup hierarchy")
        .by_hand("boot with `systemd.unified_cgroup_hierarchy=1`")
}

pub(super) fn clock_good() -> Finding {
    Finding::ok(CLOCK, "synchronised")
}

pub(super) fn clock_alone() -> Finding {
    Finding::warning(CLOCK, "not synchronised: certificates and times in logs may be wrong")
        .by_hand("`apt-get install systemd-timesyncd`, or another NTP client; in a container it is the host's to do")
}

pub(super) fn clock_unknown() -> Finding {
    Finding::skipped(CLOCK, "timedatectl does not tell whether it is synchronised")
}

// Network.

const HTTP: &str = "network.http";
const PORTS: &str = "network.ports";
const OUTGOING: &str = "network.outgoing-ports";
const DNS: &str = "network.dns";

/// A listener in words.
pub(super) fn listener(listener: &Listener) -> String {
    match &listener.process {
        Some(process) => match &process.unit {
            Some(unit) => format!("{} (process {} of {unit})", process.name, process.pid),
            None => format!("{} (process {})", process.name, process.pid),
        },
        None => format!("a program of user id {}", listener.uid),
    }
}

/// Who is it?
fn who(finding: Finding, listener: &Listener) -> Finding {
    match &listener.process {
        Some(process) => finding.run(format!("systemctl status {}", process.pid)),
        None => finding.run(format!("sudo ss -ltnp sport = :{}", listener.port)),
    }
}

pub(super) fn http_good(port: u16) -> Finding {
    Finding::ok(HTTP, format!("port {port} is the router's"))
}

pub(super) fn http_taken(port: u16, by: &str, other: &Listener) -> Finding {
    let finding = Finding::failure(
        HTTP,
        format!("port {port} is taken by {by}, and the router's socket is down"),
    );
    match other.process.as_ref().and_then(|process| process.unit.as_deref()) {
        Some(unit) if unit.ends_with(".service") => finding.by_hand(format!(
            "`systemctl disable --now {unit}` and `systemctl start kennel-router.socket`, or give \
             the router another port (docs/operations.md)"
        )),
        Some(_) | None => who(finding, other),
    }
}

pub(super) fn http_closed(port: u16) -> Finding {
    Finding::failure(HTTP, format!("nobody listens on port {port}"))
        .run("systemctl start kennel-router.socket")
}

pub(super) fn http_free(port: u16) -> Finding {
    Finding::ok(HTTP, format!("port {port} is free for the router"))
}

pub(super) fn ports_good(first: Port, last: Port, listeners: usize) -> Finding {
    Finding::ok(PORTS, format!("between {first} and {last} only deployments listen ({listeners})"))
}

pub(super) fn ports_without_rows() -> Finding {
    Finding::skipped(PORTS, "whose ports they are is in state.db, which cannot be read")
}

pub(super) fn port_of_a_stranger(stranger: &Listener) -> Finding {
    let by = listener(stranger);
    let sentence =
        format!("port {} of port_range is used by {by}, which is no deployment", stranger.port);
    who(Finding::warning(PORTS, sentence), stranger)
}

pub(super) fn port_taken(other: &Listener, key: &str) -> Finding {
    let by = listener(other);
    let sentence = format!("port {} belongs to {key}, and {by} listens on it", other.port);
    who(Finding::failure(PORTS, sentence), other)
}

pub(super) fn ports_apart() -> Finding {
    Finding::ok(OUTGOING, "the kernel takes none of Kennel's ports for outgoing connections")
}

pub(super) fn ports_overlap(first: Port, last: Port, low: u16, high: u16) -> Finding {
    let sentence = format!(
        "outgoing connections take ports from {low} to {high}, and port_range is {first} to {last}"
    );
    Finding::warning(OUTGOING, sentence).run(format!(
        "echo net.ipv4.ip_local_reserved_ports={first}-{last} > /etc/sysctl.d/kennel.conf && sysctl --system"
    ))
}

pub(super) fn dns_good(base: &str, control: &str) -> Finding {
    Finding::ok(DNS, format!("*.{base} and {control} lead here"))
}

pub(super) fn dns_without_configuration() -> Finding {
    Finding::skipped(DNS, "there is no usable config.toml that names the base domain")
}

fn records(record: &str, own: &[IpAddr]) -> String {
    let records: Vec<_> = own
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => format!("`{record}. A {address}`"),
            IpAddr::V6(address) => format!("`{record}. AAAA {address}`"),
        })
        .collect();
    if records.is_empty() {
        return format!("`{record}. A <this host's address>`");
    }
    records.join(" and ")
}

pub(super) fn dns_elsewhere(record: &str, asked: &str, elsewhere: &str, own: &[IpAddr]) -> Finding {
    Finding::warning(DNS, format!("{asked} leads to {elsewhere}, which is not this host")).by_hand(
        format!(
            "unless that is a proxy or NAT before this host, make the record {}",
            records(record, own)
        ),
    )
}

pub(super) fn dns_silent(record: &str, asked: &str, why: &str, own: &[IpAddr]) -> Finding {
    Finding::warning(DNS, format!("{asked} is not found: {why}"))
        .by_hand(format!("make the record {}", records(record, own)))
}

// Router.

const ROUTER: &str = "router.status";
const TABLE: &str = "router.table";
const WEBHOOK: &str = "router.webhook";

pub(super) fn router_answers(connections: u64) -> Finding {
    Finding::ok(ROUTER, format!("answers, with {connections} connections open"))
}

pub(super) fn router_silent(why: &str) -> Finding {
    Finding::failure(ROUTER, format!("the router does not tell its status: {why}"))
        .run("systemctl restart kennel-router-status.socket")
}

pub(super) fn router_unseen() -> Finding {
    Finding::skipped(ROUTER, "its status socket may not be opened").run("sudo kennelctl doctor")
}

pub(super) fn router_not_started() -> Finding {
    Finding::skipped(ROUTER, "kennel.target is not started")
}

pub(super) fn router_current(generation: u64, hosts: usize) -> Finding {
    Finding::ok(TABLE, format!("serves the newest route table, {generation}, with {hosts} hosts"))
}

pub(super) fn router_without_table() -> Finding {
    Finding::ok(TABLE, "none is published yet")
}

pub(super) fn router_behind(loaded: Option<u64>, published: u64) -> Finding {
    let loaded = loaded.map_or("no route table".to_owned(), |n| format!("route table {n}"));
    Finding::failure(TABLE, format!("the router serves {loaded}, and {published} is published"))
        .run("systemctl reload kennel-router")
}

pub(super) fn router_refused(reason: &str) -> Finding {
    Finding::failure(TABLE, format!("the router refuses the newest route table: {reason}"))
        .run(RESTORE)
}

pub(super) fn webhook_good(control: &str) -> Finding {
    Finding::ok(WEBHOOK, format!("the receiver answers behind {control}"))
}

pub(super) fn webhook_without_configuration() -> Finding {
    Finding::skipped(WEBHOOK, "there is no usable config.toml that names the control host")
}

pub(super) fn webhook_not_started() -> Finding {
    Finding::skipped(WEBHOOK, "kennel.target is not started")
}

pub(super) fn webhook_unrouted(control: &str) -> Finding {
    Finding::failure(WEBHOOK, format!("the router knows no webhooks for {control} (404)"))
        .run(RESTORE)
}

pub(super) fn webhook_broken(control: &str, status: &str) -> Finding {
    Finding::failure(
        WEBHOOK,
        format!("a webhook for {control} is answered {status} instead of 401"),
    )
    .run("journalctl --unit kennel-webhook --unit kennel-router --lines 30 --no-pager")
}

pub(super) fn webhook_unreachable(port: u16, why: &str) -> Finding {
    Finding::failure(WEBHOOK, format!("no webhook gets through port {port}: {why}"))
        .run("systemctl restart kennel-router.socket")
}

// Deployments.

const HEALTH: &str = "deployments.health";
const UNITS: &str = "deployments.units";
const FILES: &str = "deployments.files";
const ROUTES: &str = "deployments.routes";
const JOBS: &str = "deployments.jobs";
const DRAINS: &str = "deployments.drains";
const QUEUE: &str = "deployments.queue";

pub(super) fn all_well(count: usize) -> Finding {
    Finding::ok(
        HEALTH,
        match count {
            0 => "nothing is deployed".to_owned(),
            1 => "the one that serves is well".to_owned(),
            n => format!("all {n} that serve are well"),
        },
    )
}

pub(super) fn health_without_rows() -> Finding {
    Finding::skipped(HEALTH, "what serves is in state.db, which cannot be read")
}

pub(super) fn unwell(key: &str, detail: &str, kind: OutputKind) -> Finding {
    let finding = Finding::failure(HEALTH, format!("{key} should serve, but {detail}"));
    match kind {
        OutputKind::Service => finding.run(format!("kennelctl logs {key}")),
        OutputKind::Site => finding.by_hand("push it again"),
    }
}

pub(super) fn rows_unread(why: &str) -> Finding {
    Finding::skipped("deployments.rows", format!("the rows cannot be read: {why}"))
}

pub(super) fn units_match(serving: usize) -> Finding {
    Finding::ok(
        UNITS,
        format!("{serving} services serve, each with its unit, and no unit without one"),
    )
}

pub(super) fn unit_files_match(serving: usize) -> Finding {
    Finding::ok(
        UNITS,
        format!("{serving} services serve, each with its unit's file, and no file without one"),
    )
}

pub(super) fn unit_file_missing(unit: &UnitName, key: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} serves, and the file of {unit} is missing")).run(RESTORE)
}

pub(super) fn unit_file_changed(unit: &UnitName) -> Finding {
    Finding::warning(UNITS, format!("systemd knows an older file of {unit}"))
        .run("systemctl daemon-reload")
}

pub(super) fn unit_stopped(unit: &UnitName, key: &str, state: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} should serve, and {unit} is {state}")).run(RESTORE)
}

pub(super) fn unit_restarts(unit: &UnitName, key: &str) -> Finding {
    Finding::failure(UNITS, format!("{key} should serve, and ends again and again"))
        .run(format!("journalctl --unit {unit} --lines 30 --no-pager"))
}

pub(super) fn unit_without_row(path: &Path) -> Finding {
    Finding::failure(UNITS, format!("{} is a deployment's that no longer is", path.display()))
        .run(RESTORE)
}

pub(super) fn files_match() -> Finding {
    Finding::ok(FILES, "environments, GC roots and site links are those of the rows")
}

pub(super) fn root_missing(key: &str, id: DeploymentId) -> Finding {
    Finding::failure(
        FILES,
        format!("{key} serves without its GC root /nix/var/nix/gcroots/kennel/{id}: a garbage collection would remove it"),
    )
    .run(RESTORE)
}

pub(super) fn root_without_row(id: DeploymentId) -> Finding {
    let sentence =
        format!("the GC root /nix/var/nix/gcroots/kennel/{id} keeps what no deployment needs");
    Finding::warning(FILES, sentence).run(RESTORE)
}

pub(super) fn store_path_missing(key: &str, path: &StorePath) -> Finding {
    Finding::failure(FILES, format!("{key} should serve {path}, which is gone"))
        .by_hand("push it again, so that it is built again")
}

pub(super) fn env_file_missing(key: &str, name: &str) -> Finding {
    Finding::failure(
        FILES,
        format!("the environment of {key}, /run/kennel/secrets/{name}, is missing"),
    )
    .run(RESTORE)
}

pub(super) fn env_file_without_row(name: &str) -> Finding {
    Finding::warning(FILES, format!("/run/kennel/secrets/{name} belongs to no deployment"))
        .run(RESTORE)
}

pub(super) fn site_link_wrong(key: &str) -> Finding {
    Finding::failure(FILES, format!("the link of site {key} does not lead to what it serves"))
        .run(RESTORE)
}

pub(super) fn site_without_row(link: &Path) -> Finding {
    let place = link.display();
    Finding::warning(FILES, format!("{place} belongs to no deployment")).run(format!("rm {place}"))
}

pub(super) fn routes_match() -> Finding {
    Finding::ok(ROUTES, "the route table leads to what serves")
}

pub(super) fn table_missing(routed: usize) -> Finding {
    let sentence = format!("{routed} deployments should have routes, and there is no route table");
    Finding::failure(ROUTES, sentence).run(RESTORE)
}

pub(super) fn table_unreadable(why: &str) -> Finding {
    let sentence = format!("/var/lib/kennel/routes/routes.json cannot be read: {why}");
    Finding::failure(ROUTES, sentence).run(RESTORE)
}

pub(super) fn route_to_nobody(host: &HostName, id: DeploymentId) -> Finding {
    Finding::failure(ROUTES, format!("{host} leads to deployment {id}, which does not serve"))
        .run(RESTORE)
}

pub(super) fn not_routed(key: &str) -> Finding {
    Finding::failure(ROUTES, format!("{key} serves, and no route leads to it")).run(RESTORE)
}

pub(super) fn jobs_match() -> Finding {
    Finding::ok(JOBS, "whatever is said to run has its unit")
}

pub(super) fn job_missing(what: &str, state: &str, unit: &UnitName) -> Finding {
    Finding::failure(JOBS, format!("{what} is marked as {state}, and {unit} does not run"))
        .run(DISPATCH)
}

pub(super) fn drains_match() -> Finding {
    Finding::ok(DRAINS, "whatever was replaced ends in time")
}

pub(super) fn drain_overdue(key: &str, id: DeploymentId, when: &str, unit: &UnitName) -> Finding {
    let sentence = format!("deployment {id} of {key} should have ended {when} and still drains");
    Finding::failure(DRAINS, sentence).run(format!("systemctl start {unit}"))
}

pub(super) fn timer_without_row(timer: &str) -> Finding {
    Finding::warning(DRAINS, format!("{timer} waits to end what does not drain"))
        .run(format!("systemctl stop {timer}"))
}

pub(super) fn queue_moves(queued: usize) -> Finding {
    Finding::ok(
        QUEUE,
        match queued {
            0 => "nothing waits".to_owned(),
            1 => "1 build waits for its turn".to_owned(),
            n => format!("{n} builds wait for their turn"),
        },
    )
}

pub(super) fn events_wait(count: usize) -> Finding {
    let events =
        if count == 1 { "1 event waits".to_owned() } else { format!("{count} events wait") };
    Finding::failure(QUEUE, format!("{events} for the dispatcher, which should look every minute"))
        .run(DISPATCH)
}

pub(super) fn builds_wait(ids: &[String]) -> Finding {
    let (first, others) = (ids.first().map_or("", String::as_str), ids.len().saturating_sub(1));
    let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Finding::failure(QUEUE, format!("build {first}{others} waits although nothing is built"))
        .run(DISPATCH)
}

pub(super) fn deployments_wait(ids: &[String]) -> Finding {
    let (first, others) = (ids.first().map_or("", String::as_str), ids.len().saturating_sub(1));
    let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Finding::failure(
        QUEUE,
        format!("deployment {first}{others} waits although nothing is deployed"),
    )
    .run(DISPATCH)
}
