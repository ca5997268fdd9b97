//! The files that systemd reads, compared with each other and with the programs.
//!
//! Text only: nothing here needs systemd. A score of `systemd-analyze security` alone can be
//! gamed, so that every wall of a sandbox and every hole in it stand here too.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a test's way to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kennel_core::{BuildId, DeploymentId, Job, Layout};

/// Programs that face something: each has all of [`WALLS`], and only its own [`HOLES`].
const SANDBOXED: [&str; 7] = [
    "kennel-build@.service",
    "kennel-deploy@.service",
    "kennel-dispatch.service",
    "kennel-restore.service",
    "kennel-router.service",
    "kennel-teardown@.service",
    "kennel-webhook.service",
];

/// What every sandboxed unit says, in these words.
const WALLS: [&str; 27] = [
    "CapabilityBoundingSet=",
    "DevicePolicy=closed",
    "KeyringMode=private",
    "LimitCORE=0",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=~@privileged @resources",
];

/// What the unit of a deployed service says, whatever it is that runs in it. No
/// MemoryDenyWriteExecute=, which Node and the JVM cannot live with, and none of the limits, which
/// are the operator's.
const SERVICE_WALLS: [&str; 31] = [
    "CapabilityBoundingSet=",
    "DevicePolicy=closed",
    "DynamicUser=yes",
    "InaccessiblePaths=-/run/kennel -/etc/kennel -/run/dbus -/run/systemd/private -/nix/var/nix/daemon-socket",
    "KeyringMode=private",
    "LockPersonality=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateTmp=yes",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "StateDirectoryMode=0700",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "UMask=0077",
];

/// Settings that open something. Which unit has which of them, see [`holes`].
const HOLES: [&str; 19] = [
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CacheDirectory",
    "Delegate",
    "DeviceAllow",
    "Group",
    "IPAddressAllow",
    "JoinsNamespaceOf",
    "LoadCredential",
    "LogsDirectory",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "RuntimeDirectory",
    "SocketBindAllow",
    "StateDirectory",
    "SupplementaryGroups",
    "SystemCallFilter",
    "User",
];

/// Every hole of a unit, values of one key together.
fn holes(unit: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let deploy = vec![
        ("Group", vec!["root"]),
        ("IPAddressAllow", vec!["localhost"]),
        (
            "ReadWritePaths",
            vec![
                "-/etc/systemd/system",
                "/run/systemd/system",
                "-/nix/var/nix/gcroots/kennel",
                "/var/lib/kennel/gcroots",
                "/run/kennel/secrets",
                "/var/lib/kennel/builds",
                "/var/lib/kennel/state",
                "/var/lib/kennel/routes",
                "/var/lib/kennel/sites",
            ],
        ),
        ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"]),
        ("SupplementaryGroups", vec!["kennel-bell", "kennel-builds", "kennel-state"]),
        ("SystemCallFilter", vec!["@system-service"]),
    ];
    match unit {
        "kennel-webhook.service" => vec![
            ("LoadCredential", vec!["webhook:/etc/kennel/webhook-secrets"]),
            ("ReadWritePaths", vec!["/var/lib/kennel/inbox"]),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-webhook"]),
        ],
        "kennel-dispatch.service" => vec![
            (
                "ReadWritePaths",
                vec!["/var/lib/kennel/builds", "/var/lib/kennel/inbox", "/var/lib/kennel/state"],
            ),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel"]),
        ],
        "kennel-build@.service" => vec![
            (
                "ReadWritePaths",
                vec![
                    "/var/lib/kennel/builds",
                    "/var/lib/kennel/cache",
                    "/var/lib/kennel/gcroots",
                    "/var/lib/kennel/logs",
                    "/var/lib/kennel/repos",
                    "/var/lib/kennel/work",
                ],
            ),
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service", "@sandbox"]),
            ("User", vec!["kennel-build"]),
        ],
        "kennel-router.service" => vec![
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-router"]),
        ],
        _ => deploy,
    }
}

/// What else a unit must say: what it can never reach, and what its duties depend on.
const PROMISES: [(&str, &[&str]); 21] = [
    (
        "kennel-webhook.service",
        &[
            "IPAddressDeny=any",
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus -/run/systemd/private",
            "MemoryMax=512M",
            "PrivateNetwork=yes",
            "Restart=on-failure",
            "RestartSec=1",
            "Type=notify",
            "UMask=0007",
        ],
    ),
    (
        "kennel-dispatch.service",
        &["IPAddressDeny=any", "MemoryMax=512M", "PrivateNetwork=yes", "Type=notify", "UMask=0007"],
    ),
    (
        "kennel-build@.service",
        &[
            "ExecStopPost=/usr/lib/kennel/kennel-build settle %i",
            "InaccessiblePaths=-/run/systemd/private -/var/lib/kennel/inbox -/var/lib/kennel/state",
            "KillMode=control-group",
            "RuntimeMaxSec=4h",
            "TimeoutStopSec=5",
            "Type=notify",
            "UMask=0007",
        ],
    ),
    (
        "kennel-deploy@.service",
        &[
            "ExecStopPost=/usr/lib/kennel/kennel-deploy settle %i",
            "IPAddressDeny=any",
            "RuntimeMaxSec=15min",
            "Type=notify",
            "UMask=0007",
        ],
    ),
    // RuntimeMaxSec= has no effect on Type=oneshot.
    (
        "kennel-teardown@.service",
        &["IPAddressDeny=any", "TimeoutStartSec=5min", "Type=oneshot", "UMask=0007"],
    ),
    (
        "kennel-restore.service",
        &[
            "Before=kennel-dispatch.service kennel-router.service",
            "IPAddressDeny=any",
            "TimeoutStartSec=5min",
            "Type=oneshot",
            "UMask=0007",
        ],
    ),
    (
        "kennel-router.service",
        &[
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus -/run/kennel/secrets -/run/systemd/private",
            "Restart=on-failure",
            "Sockets=kennel-router-status.socket kennel-router.socket",
            "Type=notify-reload",
        ],
    ),
    (
        "kennel-webhook.socket",
        &[
            "FileDescriptorName=webhook",
            "SocketGroup=kennel-router",
            "SocketMode=0660",
            "TriggerLimitIntervalSec=0",
        ],
    ),
    (
        "kennel-dispatch.socket",
        &[
            "FileDescriptorName=bell",
            "SocketGroup=kennel-bell",
            "SocketMode=0660",
            "TriggerLimitIntervalSec=0",
        ],
    ),
    (
        "kennel-router.socket",
        &["FileDescriptorName=http", "ListenStream=80", "TriggerLimitIntervalSec=0"],
    ),
    (
        "kennel-router-status.socket",
        &["FileDescriptorName=status", "SocketGroup=kennel-state", "SocketMode=0660"],
    ),
    ("kennel-config.path", &["PathChanged=/etc/kennel/config.toml", "Unit=kennel-restore.service"]),
    ("kennel-webhook-secrets.path", &["PathChanged=/etc/kennel/webhook-secrets"]),
    ("kennel-dispatch.timer", &["OnActiveSec=0", "OnUnitActiveSec=1min"]),
    ("nix-daemon.service.d/kennel.conf", &["OOMPolicy=continue"]),
    // They are started again and again, by design.
    ("kennel-webhook.service", &["StartLimitIntervalSec=0"]),
    ("kennel-dispatch.service", &["StartLimitIntervalSec=0"]),
    ("kennel-router.service", &["StartLimitIntervalSec=0"]),
    ("kennel-webhook-secrets.service", &["StartLimitIntervalSec=0"]),
    ("kennel-build@.service", &["StartLimitIntervalSec=0"]),
    ("kennel-deploy@.service", &["StartLimitIntervalSec=0"]),
];

#[test]
fn every_wall_stands() {
    for name in SANDBOXED {
        let unit = Unit::load(name);
        for wall in WALLS {
            assert!(unit.says(wall), "{name} lacks {wall}");
        }
    }
}

#[test]
fn every_wall_of_a_deployed_service_stands() {
    let whole = "crates/kennel-systemd/src/snapshots/kennel_systemd__service_unit__tests__the_whole_file.snap";
    let lines = lines(whole);
    for wall in SERVICE_WALLS {
        assert!(lines.iter().any(|line| line == wall), "a deployed service lacks {wall}");
    }
}

#[test]
fn every_hole_is_known() {
    for name in SANDBOXED {
        let unit = Unit::load(name);
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Setting { key, value, .. } in &unit.settings {
            if HOLES.contains(&key.as_str()) && !value.starts_with('~') {
                found.entry(key).or_default().extend(value.split_whitespace());
            }
        }
        let found: Vec<_> = found.into_iter().collect();
        assert_eq!(found, holes(name), "{name}");
    }
}

#[test]
fn every_promise_is_kept() {
    for (name, settings) in PROMISES {
        let unit = Unit::load(name);
        for setting in settings {
            assert!(unit.says(setting), "{name} lacks {setting}");
        }
    }
}

#[test]
fn every_program_runs_in_a_sandbox() {
    let programs: BTreeSet<_> = all()
        .into_iter()
        .filter(|unit| unit.programs().next().is_some())
        .map(|unit| unit.name)
        .collect();
    assert_eq!(programs, SANDBOXED.map(str::to_owned).into());
}

#[test]
fn every_program_is_one_of_the_workspace() {
    for unit in all() {
        for program in unit.programs() {
            let source = repository().join("crates").join(&program).join("src/main.rs");
            assert!(source.is_file(), "{} starts {program}, and there is none", unit.name);
        }
    }
}

#[test]
fn keys_are_sorted_within_sections() {
    for unit in all() {
        let keys = unit.settings.iter().map(|setting| (setting.section, &setting.key));
        assert!(keys.is_sorted(), "{}", unit.name);
    }
}

#[test]
fn holes_that_are_no_matter_of_course_have_a_reason() {
    let explained = [
        "IPAddressAllow",
        "ReadWritePaths",
        "RestrictAddressFamilies",
        "SupplementaryGroups",
        "UMask",
    ];
    for name in SANDBOXED {
        for setting in Unit::load(name).settings {
            // 0077 opens nothing.
            if explained.contains(&setting.key.as_str()) && setting.value != "0077" {
                assert!(setting.explained, "{name}: no comment above {}=", setting.key);
            }
        }
    }
}

#[test]
fn the_target_starts_and_stops_everything() {
    let target = Unit::load("kennel.target");
    let wanted: BTreeSet<_> = target.values("Wants").collect();
    let mut static_units = BTreeSet::new();
    for unit in all() {
        let part = unit.says("PartOf=kennel.target");
        // The first two are not Kennel's to stop; the third only stops another.
        let apart = ["kennel.target", "nix-daemon.service.d/kennel.conf"].contains(&&*unit.name)
            || unit.name == "kennel-webhook-secrets.service";
        assert_eq!(part, !apart, "{}", unit.name);
        assert_eq!(unit.values("WantedBy").next().is_some(), unit.name == "kennel.target");
        let activated = ["kennel-webhook.service", "kennel-dispatch.service"];
        if part && !unit.name.contains('@') && !activated.contains(&unit.name.as_str()) {
            static_units.insert(unit.name);
        }
    }
    assert_eq!(wanted, static_units.iter().map(String::as_str).collect());
}

#[test]
fn what_triggers_has_no_start_limit() {
    for unit in all() {
        if [".socket", ".timer", ".path"].iter().any(|kind| unit.name.ends_with(kind)) {
            assert!(unit.says("StartLimitIntervalSec=0"), "{}", unit.name);
        }
    }
}

#[test]
fn sockets_are_where_programs_look() {
    let layout = Layout::default();
    for (unit, key, path) in [
        ("kennel-dispatch.socket", "ListenDatagram", layout.bell()),
        ("kennel-webhook.socket", "ListenStream", layout.webhook_socket()),
        ("kennel-router-status.socket", "ListenStream", layout.router_socket()),
    ] {
        assert!(Unit::load(unit).says(&format!("{key}={}", path.display())), "{unit}");
    }
}

#[test]
fn directories_are_where_programs_look() {
    let layout = Layout::default();
    let build = BuildId::from_row(1);
    let project = "p".parse().unwrap();
    let slug = kennel_core::BranchSlug::candidates(&"refs/heads/b".parse().unwrap()).next();
    let parent = |path: PathBuf| path.parent().unwrap().to_path_buf();
    let needed = [
        (parent(layout.config()), "0755 root root"),
        (layout.projects(), "0755 root root"),
        (layout.webhook_secrets(), "0700 root root"),
        (parent(layout.inbox_db()), "2770 kennel kennel-inbox"),
        (layout.inbox_db(), "0660 kennel kennel-inbox"),
        (parent(layout.builds_db()), "2770 kennel kennel-builds"),
        (layout.builds_db(), "0660 kennel kennel-builds"),
        (parent(layout.state_db()), "2770 kennel kennel-state"),
        (layout.state_db(), "0660 kennel kennel-state"),
        (parent(layout.mirror(&project)), "0700 kennel-build kennel-build"),
        (parent(layout.cache(&project)), "0700 kennel-build kennel-build"),
        (parent(layout.work(build)), "0700 kennel-build kennel-build"),
        (parent(layout.logs(build)), "2750 kennel-build kennel-state"),
        (parent(layout.build_roots(build)), "2775 kennel-build root"),
        (layout.deployment_roots(), "0755 root root"),
        (parent(parent(layout.sites(&project, &slug.unwrap().unwrap()))), "0755 root root"),
        (parent(layout.route_table()), "0755 root root"),
        (parent(layout.route_lock()), "0755 root root"),
        (layout.env_dir(), "0700 root root"),
        (parent(layout.bell()), "0755 root root"),
        (parent(layout.data(&"kennel-p-b-s".parse().unwrap())), "0755 root root"),
    ];
    let needed: BTreeMap<_, _> = needed.into();
    let mut made = tmpfiles();
    for (path, owner) in &needed {
        assert_eq!(made.remove(path).as_deref(), Some(*owner), "{}", path.display());
    }
    // For people, and for issues to come.
    for path in ["/var/lib/kennel", "/etc/kennel/secrets"] {
        assert!(made.remove(Path::new(path)).is_some(), "{path}");
    }
    assert!(made.is_empty(), "no program looks there: {made:?}");
}

#[test]
fn what_a_unit_may_write_exists() {
    let made = tmpfiles();
    for unit in all() {
        for path in unit.values("ReadWritePaths").flat_map(str::split_whitespace) {
            let path = Path::new(path.trim_start_matches('-'));
            assert!(
                made.contains_key(path) || path.ends_with("systemd/system"),
                "{} fails to start without {}",
                unit.name,
                path.display()
            );
        }
    }
}

#[test]
fn users_and_groups_exist() {
    let mut known = BTreeSet::from(["root".to_owned()]);
    for line in lines("sysusers.d/kennel.conf") {
        let mut fields = line.split_whitespace();
        if let (Some("u" | "g"), Some(name)) = (fields.next(), fields.next()) {
            known.insert(name.to_owned());
        }
    }
    for unit in all() {
        for key in ["User", "Group", "SupplementaryGroups", "SocketUser", "SocketGroup"] {
            for name in unit.values(key).flat_map(str::split_whitespace) {
                assert!(known.contains(name), "{}: {key}={name}", unit.name);
            }
        }
    }
    for (path, owner) in tmpfiles() {
        for name in owner.split_whitespace().skip(1) {
            assert!(known.contains(name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn the_dispatcher_may_start_exactly_the_jobs() {
    let rule = fs::read_to_string(repository().join("polkit-1/rules.d/50-kennel.rules")).unwrap();
    let pattern = r"/^kennel-(build|deploy|teardown)@[1-9][0-9]{0,18}\.service$/";
    assert_eq!(rule.matches(pattern).count(), 1);
    assert_eq!(rule.matches("polkit.Result.YES").count(), 1);
    assert!(rule.contains(r#"["start", "stop", "reset-failed"]"#));
    assert!(rule.contains(r#"question.indexOf("transient") < 0"#));
    let templates: BTreeSet<_> =
        all().into_iter().map(|unit| unit.name).filter(|name| name.contains('@')).collect();
    let jobs = [
        Job::Build(BuildId::from_row(7)),
        Job::Deploy(DeploymentId::from_row(7)),
        Job::Teardown(DeploymentId::from_row(7)),
    ];
    let jobs: BTreeSet<_> = jobs.map(|job| job.unit().to_string().replace('7', "")).into();
    assert_eq!(templates, jobs);
    let named = ["build", "deploy", "teardown"].map(|job| format!("kennel-{job}@.service"));
    assert_eq!(templates, named.into());
}

/// A unit file or a drop-in.
struct Unit {
    /// Below `units/`.
    name: String,
    settings: Vec<Setting>,
}

struct Setting {
    /// Which section of the file, from 0.
    section: usize,
    key: String,
    value: String,
    /// Whether a comment stands above it, or above others of its key right before it.
    explained: bool,
}

impl Unit {
    fn load(name: &str) -> Self {
        let text = fs::read_to_string(repository().join("units").join(name)).unwrap();
        let mut settings: Vec<Setting> = Vec::new();
        let (mut section, mut comment) = (0, false);
        for line in text.lines() {
            if line.starts_with('#') {
                comment = true;
                continue;
            }
            if line.starts_with('[') {
                section += 1;
            } else if let Some((key, value)) = line.split_once('=') {
                let explained = comment
                    || settings.last().is_some_and(|last| last.key == key && last.explained);
                let (key, value) = (key.to_owned(), value.to_owned());
                settings.push(Setting { section, key, value, explained });
            }
            comment = false;
        }
        Self { name: name.to_owned(), settings }
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let settings = self.settings.iter().filter(move |setting| setting.key == key);
        settings.map(|setting| setting.value.as_str())
    }

    fn says(&self, setting: &str) -> bool {
        let (key, value) = setting.split_once('=').unwrap();
        self.values(key).any(|found| found == value)
    }

    /// The programs of Kennel's that it starts.
    fn programs(&self) -> impl Iterator<Item = String> {
        let commands = self.settings.iter().filter(|setting| setting.key.starts_with("Exec"));
        commands.filter_map(|setting| {
            let program = setting.value.split_whitespace().next()?;
            program.strip_prefix("/usr/lib/kennel/").map(str::to_owned)
        })
    }
}

/// Every file below `units/`.
fn all() -> Vec<Unit> {
    fn walk(directory: &Path, below: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    walk(&repository().join("units"), "", &mut names);
    assert!(names.len() > 10, "{names:?}");
    names.iter().map(|name| Unit::load(name)).collect()
}

/// Path to mode, user and group.
fn tmpfiles() -> BTreeMap<PathBuf, String> {
    let entry = |line: String| {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert!(["d", "f"].contains(&fields[0]), "{line}");
        (PathBuf::from(fields[1]), fields[2..5].join(" "))
    };
    lines("tmpfiles.d/kennel.conf").into_iter().map(entry).collect()
}

/// A file's lines without comments and empty ones.
fn lines(file: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
