//! What every sandbox keeps out.

use crate::unit::Unit;
use crate::{SANDBOXED, lines};

/// What every sandboxed unit says, in these words.
const WALLS: [&str; 25] = [
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
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=~@privileged @resources",
];

/// Units whose start somebody waits for say the same in fewer mounts: of users for whom the modes of
/// /sys are enough, and of a root for whom it is read-only.
fn wall_of_kernel_settings(unit: &Unit) -> &'static [&'static str] {
    match unit.values("User").next() {
        Some("kennel-router") => &["ProtectControlGroups=yes", "ProtectKernelTunables=yes"],
        Some(_) => &[],
        None => &["ReadOnlyPaths=/sys"],
    }
}

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

#[test]
fn every_wall_stands() {
    for name in SANDBOXED {
        let unit = Unit::load(name);
        for wall in WALLS.iter().chain(wall_of_kernel_settings(&unit)) {
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
