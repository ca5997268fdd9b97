//! The walls around Kennel's programs and around what is deployed, asked of the running manager.

use std::collections::BTreeMap;

use kennel_tests::{Context, Kennel, LIMIT, Result, Rows, bail, ensure};

/// The most exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE: [(&str, u32); 15] = [
    ("kennel-acme.service", 14),
    ("kennel-webhook.service", 5),
    ("kennel-api.service", 5),
    ("kennel-dispatch.service", 5),
    ("kennel-router.service", 13),
    ("kennel-router-relief.service", 13),
    ("kennel-build@1.service", 14),
    ("kennel-poll.service", 14),
    ("kennel-sleep.service", 22),
    ("kennel-sweep.service", 5),
    ("kennel-tidy.service", 5),
    ("kennel-deploy@1.service", 22),
    ("kennel-teardown@1.service", 22),
    ("kennel-restore.service", 22),
    ("kennel-routes.service", 22),
];

/// As above, for a deployed service.
const EXPOSURE_OF_DEPLOYED: u32 = 18;

/// What holds for all of them, in `systemctl show`'s words.
const WALLS: [(&str, &str); 25] = [
    ("AmbientCapabilities", ""),
    ("CapabilityBoundingSet", ""),
    ("DevicePolicy", "closed"),
    ("KeyringMode", "private"),
    ("LockPersonality", "yes"),
    ("NoNewPrivileges", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateIPC", "yes"),
    ("PrivateMounts", "no"),
    ("PrivateTmp", "yes"),
    ("PrivateUsers", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHome", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectProc", "invisible"),
    ("ProtectSystem", "strict"),
    ("RemoveIPC", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "1"),
    ("Delegate", "no"),
];

/// What holds for Kennel's own programs; a service may bring a compiler of its own.
const OWN_WALLS: [(&str, &str); 3] =
    [("MemoryDenyWriteExecute", "yes"), ("ProcSubset", "pid"), ("LimitCORE", "0")];

/// What else holds for what strangers reach and for strangers' programs. Units whose start somebody
/// waits for have less to mount: of users for whom the modes of /sys are enough, and of a root for
/// whom it is read-only.
const KERNEL_SETTINGS: [(&str, &str); 2] =
    [("ProtectControlGroups", "yes"), ("ProtectKernelTunables", "yes")];

/// What holds for one: user, groups, address families, and the addresses it may not reach.
const DUTIES: [(&str, &[(&str, &str)]); 9] = [
    (
        "kennel-webhook.service",
        &[
            ("User", "kennel-webhook"),
            ("PrivateNetwork", "yes"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            ("ReadWritePaths", "/var/lib/kennel/inbox"),
        ],
    ),
    (
        "kennel-api.service",
        &[
            ("User", "kennel-api"),
            ("PrivateNetwork", "yes"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            ("ReadWritePaths", "/var/lib/kennel/inbox"),
            KERNEL_SETTINGS[0],
            KERNEL_SETTINGS[1],
        ],
    ),
    (
        "kennel-dispatch.service",
        &[
            ("User", "kennel"),
            ("PrivateNetwork", "yes"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            ("ReadWritePaths", "/var/lib/kennel"),
        ],
    ),
    (
        "kennel-router.service",
        &[
            ("User", "kennel-router"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("ReadWritePaths", ""),
            KERNEL_SETTINGS[0],
            KERNEL_SETTINGS[1],
        ],
    ),
    (
        "kennel-build@1.service",
        &[
            ("User", "kennel-build"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("KillMode", "control-group"),
        ],
    ),
    (
        "kennel-poll.service",
        &[
            ("User", "kennel-build"),
            ("SupplementaryGroups", "kennel-inbox"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("ReadWritePaths", "/var/lib/kennel/inbox /var/lib/kennel/polls /var/lib/kennel/work"),
            KERNEL_SETTINGS[0],
            KERNEL_SETTINGS[1],
        ],
    ),
    (
        "kennel-sweep.service",
        &[
            ("User", "kennel"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            (
                "ReadWritePaths",
                "/var/lib/kennel/builds /var/lib/kennel/inbox /var/lib/kennel/state",
            ),
            KERNEL_SETTINGS[0],
            KERNEL_SETTINGS[1],
        ],
    ),
    (
        "kennel-tidy.service",
        &[
            ("User", "kennel-build"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_UNIX"),
            KERNEL_SETTINGS[0],
            KERNEL_SETTINGS[1],
        ],
    ),
    (
        "kennel-deploy@1.service",
        &[
            ("User", ""),
            ("Group", "root"),
            ("ReadOnlyPaths", "/sys"),
            ("IPAddressAllow", "127.0.0.0/8 ::1/128"),
            ("IPAddressDeny", "0.0.0.0/0 ::/0"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_NETLINK AF_UNIX"),
        ],
    ),
];

/// System calls that nobody here has a use for, one of each group that is left out.
const NO_CALLS: [&str; 12] = [
    "mount",
    "chroot",
    "setuid",
    "reboot",
    "bpf",
    "ptrace",
    "init_module",
    "swapon",
    "mbind",
    "perf_event_open",
    "clock_settime",
    "kexec_load",
];

/// `systemd-analyze verify` has nothing to say about any shipped unit.
pub(crate) fn shipped_units_are_valid(kennel: &Kennel) -> Result<()> {
    let listed = kennel.host().sh("cd /usr/lib/systemd/system && ls -d builds.slice kennel*")?;
    let units: Vec<String> = listed.lines().map(|unit| unit.replace("@.", "@1.")).collect();
    ensure!(units.len() >= 15, "only {} units are shipped: {units:?}", units.len());
    for unit in &units {
        expect_valid(kennel, unit)?;
    }
    // It says something about one that is wrong.
    kennel.host().sh("printf '[Service]\\nExecStrt=/bin/true\\n' > /run/wrong.service")?;
    let wrong = kennel.host().try_run(&["systemd-analyze", "verify", "/run/wrong.service"])?;
    ensure!(wrong.stderr.contains("ExecStrt"), "it does not see what is wrong: {wrong:?}");
    Ok(())
}

/// As little is exposed as was reached once, and the walls themselves stand.
pub(crate) fn programs_are_confined(kennel: &Kennel) -> Result<()> {
    for (unit, most) in EXPOSURE {
        expect_exposure(kennel, unit, most)?;
        let mut wanted = [&WALLS[..], &OWN_WALLS[..]].concat();
        let own = DUTIES.iter().filter(|(of, _)| *of == unit).flat_map(|(_, duties)| *duties);
        wanted.extend(own);
        expect_properties(kennel, unit, &wanted)?;
        expect_few_calls(kennel, unit)?;
    }
    Ok(())
}

/// What a user's unit does not hide from it, since the modes keep it out.
const CLOSED: [(&str, &[&str]); 4] = [
    (
        "kennel-webhook",
        &[
            "/run/kennel/secrets",
            "/var/lib/kennel/builds",
            "/var/lib/kennel/state",
            "/var/lib/kennel/repos",
        ],
    ),
    (
        "kennel-api",
        &[
            "/etc/kennel/secrets",
            "/etc/kennel/webhook-secrets",
            "/run/kennel/secrets",
            "/var/lib/kennel/logs",
            "/var/lib/kennel/repos",
            "/var/lib/kennel/state",
        ],
    ),
    ("kennel", &["/run/kennel/secrets", "/var/lib/kennel/cache", "/var/lib/kennel/repos"]),
    (
        "kennel-build",
        &[
            "/etc/kennel/webhook-secrets",
            "/run/kennel/secrets",
            "/var/lib/kennel/inbox",
            "/var/lib/kennel/state",
        ],
    ),
];

/// Modes alone keep each program's user out of what is others'.
pub(crate) fn users_are_kept_apart(kennel: &Kennel) -> Result<()> {
    for (user, paths) in CLOSED {
        for path in paths {
            kennel.host().run(&["test", "-d", path])?;
            let listed = kennel.host().try_run(&["runuser", "-u", user, "--", "ls", path])?;
            ensure!(listed.stderr.contains("Permission denied"), "{user} lists {path}: {listed:?}");
        }
        let tunable = "/sys/kernel/mm/transparent_hugepage/enabled";
        let written = kennel.host().try_run(&[
            "runuser",
            "-u",
            user,
            "--",
            "sh",
            "-c",
            &format!("echo never > {tunable}"),
        ])?;
        ensure!(written.code != 0, "{user} writes {tunable}");
    }
    Ok(())
}

/// A deployed service has them too.
pub(crate) fn deployed_services_are_confined(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("walled")?;
    let pushed = project.push("main", &kennel.sources().service("api", "walled-1"), "walls")?;
    kennel.expect_page(&project.address("api", "main"), "/version", "walled-1", LIMIT)?;
    let rows = Rows::read(kennel)?;
    let unit = rows.at("walled", "api", &pushed.after).context("it has no row")?.unit();
    expect_valid(kennel, &format!("/etc/systemd/system/{unit}"))?;
    expect_exposure(kennel, &unit, EXPOSURE_OF_DEPLOYED)?;
    let mut wanted = [&WALLS[..], &KERNEL_SETTINGS[..]].concat();
    wanted.extend([
        ("DynamicUser", "yes"),
        ("User", "kennel-walled-main-api"),
        ("Slice", "kennel-walled-main-api.slice"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_NETLINK AF_UNIX"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        // The operator's limits, which kennel.toml did not lower.
        ("MemoryMax", "2147483648"),
        ("CPUQuotaPerSecUSec", "2s"),
        ("TasksMax", "512"),
    ]);
    expect_properties(kennel, &unit, &wanted)?;
    expect_few_calls(kennel, &unit)?;
    let kept_away = kennel.host().run(&["systemctl", "show", "-p", "InaccessiblePaths", &unit])?;
    for path in ["/run/kennel", "/etc/kennel", "/run/dbus", "/nix/var/nix/daemon-socket"] {
        ensure!(kept_away.contains(path), "{path} is open to it: {kept_away}");
    }
    Ok(())
}

fn expect_valid(kennel: &Kennel, unit: &str) -> Result<()> {
    // Test hosts have no man to ask for a page; that each is there is tested with the pages.
    let verified = kennel.host().try_run(&["systemd-analyze", "verify", "--man=no", unit])?;
    let said = format!("{}{}", verified.stdout, verified.stderr);
    ensure!(verified.code == 0 && said.is_empty(), "of {unit}: {} {said}", verified.code);
    Ok(())
}

fn expect_exposure(kennel: &Kennel, unit: &str, most: u32) -> Result<()> {
    let table = kennel.host().run(&["systemd-analyze", "security", "--no-pager", unit])?;
    let score = table
        .lines()
        .find_map(|line| line.split_once(&format!("exposure level for {unit}: ")))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| format!("no score of {unit} in\n{table}"))?;
    let tenths: u32 = score.replace('.', "").parse().context(score.to_owned())?;
    ensure!(tenths <= most, "{unit} is exposed by {score}:\n{table}");
    Ok(())
}

fn expect_properties(kennel: &Kennel, unit: &str, wanted: &[(&str, &str)]) -> Result<()> {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let show = ["systemctl", "show", "--all", "-p", &names.join(","), unit];
    let shown = kennel.host().run(&show)?;
    let shown: BTreeMap<&str, &str> =
        shown.lines().filter_map(|line| line.split_once('=')).collect();
    let wrong: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| {
            // Lists come in an order of systemd's own.
            let mut words: Vec<&str> =
                shown.get(name).copied().unwrap_or("nothing").split_whitespace().collect();
            words.sort_unstable();
            let mut wanted: Vec<&str> = value.split_whitespace().collect();
            wanted.sort_unstable();
            words != wanted
        })
        .map(|(name, value)| format!("{name} is {:?}, not {value:?}", shown.get(name)))
        .collect();
    ensure!(wrong.is_empty(), "of {unit}:\n{}", wrong.join("\n"));
    Ok(())
}

/// The filter lists what is allowed, and nothing that changes the system is.
fn expect_few_calls(kennel: &Kennel, unit: &str) -> Result<()> {
    let show = ["systemctl", "show", "--value", "-p", "SystemCallFilter", unit];
    let shown = kennel.host().run(&show)?;
    let calls: Vec<&str> = shown.split_whitespace().collect();
    ensure!(calls.contains(&"read"), "{unit} has no list of what it may call: {shown}");
    match NO_CALLS.iter().find(|call| calls.contains(call)) {
        Some(call) => bail!("{unit} may call {call}"),
        None => Ok(()),
    }
}
