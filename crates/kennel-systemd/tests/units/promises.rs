//! What single units say beyond their walls.

use crate::unit::Unit;

/// What else a unit must say: what it can never reach, and what its duties depend on.
const PROMISES: &[(&str, &[&str])] = &[
    (
        "kennel-webhook.service",
        &[
            "IPAddressDeny=any",
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus",
            "MemoryMax=512M",
            "PrivateNetwork=yes",
            "Restart=on-failure",
            "RestartSec=1",
            "Type=notify",
            "UMask=0007",
        ],
    ),
    (
        "kennel-api.service",
        &[
            "IPAddressDeny=any",
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus",
            "MemoryMax=128M",
            "PrivateNetwork=yes",
            "ProtectSystem=strict",
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
            "KillMode=control-group",
            "RuntimeMaxSec=4h",
            "Slice=builds.slice",
            "TimeoutStopSec=5",
            "Type=notify",
            "UMask=0007",
        ],
    ),
    (
        "kennel-acme.service",
        &[
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/kennel/secrets -/run/systemd/private",
            "MemoryMax=512M",
            "TimeoutStartSec=1h",
            "Type=oneshot",
            "UMask=0027",
        ],
    ),
    (
        "kennel-poll.service",
        &[
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus",
            "KillMode=control-group",
            "MemoryMax=512M",
            "Slice=builds.slice",
            "TimeoutStartSec=20min",
            "Type=oneshot",
            "UMask=0007",
        ],
    ),
    (
        "kennel-sweep.service",
        &[
            "IPAddressDeny=any",
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus",
            "MemoryMax=512M",
            "PrivateNetwork=yes",
            "TimeoutStartSec=5min",
            "Type=oneshot",
            "UMask=0007",
        ],
    ),
    (
        "kennel-tidy.service",
        &[
            "IOSchedulingClass=idle",
            "IPAddressDeny=any",
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus",
            "MemoryMax=512M",
            "PrivateNetwork=yes",
            "Slice=builds.slice",
            "TimeoutStartSec=1h",
            "Type=oneshot",
            "UMask=0007",
        ],
    ),
    (
        "kennel-deploy@.service",
        &[
            "ExecStopPost=/usr/lib/kennel/kennel-deploy settle %i",
            "IPAddressDeny=any",
            "RuntimeMaxSec=45min",
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
        "kennel-sleep.service",
        &["IPAddressDeny=any", "TimeoutStartSec=5min", "Type=oneshot", "UMask=0007"],
    ),
    ("kennel-sleep.timer", &["OnUnitInactiveSec=1min", "StopWhenUnneeded=yes"]),
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
        "kennel-routes.service",
        &[
            "After=dbus.service kennel-restore.service",
            "IPAddressDeny=any",
            "PrivateNetwork=yes",
            "TimeoutStartSec=1min",
            "Type=oneshot",
            "UMask=0007",
        ],
    ),
    (
        "kennel-router.service",
        &[
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus -/run/kennel/secrets -/run/systemd/private",
            "PropagatesReloadTo=kennel-router-relief.service",
            "Restart=on-failure",
            "Sockets=kennel-router-status.socket kennel-router-tls.socket kennel-router.socket",
            "Type=notify-reload",
        ],
    ),
    (
        "kennel-router-relief.service",
        &[
            "InaccessiblePaths=-/nix/var/nix/daemon-socket -/run/dbus -/run/kennel/secrets -/run/systemd/private",
            "Sockets=kennel-router-relief.socket kennel-router-tls.socket kennel-router.socket",
            "Type=notify-reload",
        ],
    ),
    (
        "kennel-router-relief.socket",
        &[
            "FileDescriptorName=relief",
            "PartOf=kennel-router.socket",
            "SocketMode=0600",
            "SocketUser=kennel-router",
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
        "kennel-api.socket",
        &[
            "FileDescriptorName=api",
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
        "kennel-router-tls.socket",
        &["FileDescriptorName=https", "ListenStream=443", "TriggerLimitIntervalSec=0"],
    ),
    (
        "kennel-router-status.socket",
        &["FileDescriptorName=status", "SocketGroup=kennel-state", "SocketMode=0660"],
    ),
    ("kennel-config.path", &["PathChanged=/etc/kennel/config.toml", "Unit=kennel-restore.service"]),
    ("kennel-dispatch.path", &["PathChanged=/etc/kennel/projects.d", "TriggerLimitIntervalSec=0"]),
    ("kennel-routes.path", &["PathChanged=/etc/kennel/projects.d", "TriggerLimitIntervalSec=0"]),
    ("kennel-webhook-secrets.path", &["PathChanged=/etc/kennel/webhook-secrets"]),
    ("kennel-dispatch.timer", &["OnActiveSec=0", "OnUnitActiveSec=1min"]),
    (
        "kennel-acme.path",
        &["PathChanged=/etc/kennel/config.toml", "PathChanged=/var/lib/kennel/routes/routes.json"],
    ),
    (
        "kennel-acme.timer",
        &["OnActiveSec=1min", "OnUnitInactiveSec=15min", "RandomizedDelaySec=5min"],
    ),
    ("kennel-poll.timer", &["OnActiveSec=20s", "OnUnitInactiveSec=5min", "RandomizedDelaySec=30s"]),
    ("kennel-sweep.timer", &["OnActiveSec=10min", "OnUnitActiveSec=10min"]),
    ("kennel-tidy.timer", &["OnActiveSec=1h", "OnUnitActiveSec=1d"]),
    ("builds.slice", &["CPUWeight=20", "IOWeight=20"]),
    ("nix-daemon.service.d/10-kennel.conf", &["OOMPolicy=continue", "Slice=builds.slice"]),
    // They are started again and again, by design.
    ("kennel-webhook.service", &["StartLimitIntervalSec=0"]),
    ("kennel-api.service", &["StartLimitIntervalSec=0"]),
    ("kennel-dispatch.service", &["StartLimitIntervalSec=0"]),
    ("kennel-router.service", &["StartLimitIntervalSec=0"]),
    ("kennel-router-relief.service", &["StartLimitIntervalSec=0"]),
    ("kennel-routes.service", &["StartLimitIntervalSec=0"]),
    ("kennel-webhook-secrets.service", &["StartLimitIntervalSec=0"]),
    ("kennel-acme.service", &["StartLimitIntervalSec=0"]),
    ("kennel-poll.service", &["StartLimitIntervalSec=0"]),
    ("kennel-sweep.service", &["StartLimitIntervalSec=0"]),
    ("kennel-tidy.service", &["StartLimitIntervalSec=0"]),
    ("kennel-build@.service", &["StartLimitIntervalSec=0"]),
    ("kennel-deploy@.service", &["StartLimitIntervalSec=0"]),
];

#[test]
fn every_promise_is_kept() {
    for (name, settings) in PROMISES {
        let unit = Unit::load(name);
        for setting in *settings {
            assert!(unit.says(setting), "{name} lacks {setting}");
        }
    }
}
