//! What each sandbox lets through.

use std::collections::BTreeMap;

use crate::SANDBOXED;
use crate::unit::{Setting, Unit};

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
                "/run/kennel/secrets",
                "/var/lib/kennel",
            ],
        ),
        ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"]),
        (
            "SupplementaryGroups",
            vec!["kennel-bell", "kennel-builds", "kennel-router", "kennel-state"],
        ),
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
        "kennel-api.service" => vec![
            ("ReadWritePaths", vec!["/var/lib/kennel/inbox"]),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SupplementaryGroups", vec!["kennel-state"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-api"]),
        ],
        "kennel-dispatch.service" => vec![
            ("ReadWritePaths", vec!["/var/lib/kennel"]),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel"]),
        ],
        "kennel-build@.service" => vec![
            ("ReadWritePaths", vec!["/var/lib/kennel"]),
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service", "@sandbox"]),
            ("User", vec!["kennel-build"]),
        ],
        "kennel-acme.service" => vec![
            ("LoadCredential", vec!["acme:/etc/kennel/acme"]),
            (
                "ReadWritePaths",
                vec!["/var/lib/kennel/acme", "/var/lib/kennel/certs", "/var/lib/kennel/challenges"],
            ),
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-acme"]),
        ],
        "kennel-poll.service" => vec![
            (
                "ReadWritePaths",
                vec!["/var/lib/kennel/inbox", "/var/lib/kennel/polls", "/var/lib/kennel/work"],
            ),
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SupplementaryGroups", vec!["kennel-inbox"]),
            ("SystemCallFilter", vec!["@system-service", "@sandbox"]),
            ("User", vec!["kennel-build"]),
        ],
        "kennel-sweep.service" => vec![
            (
                "ReadWritePaths",
                vec!["/var/lib/kennel/builds", "/var/lib/kennel/inbox", "/var/lib/kennel/state"],
            ),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel"]),
        ],
        "kennel-tidy.service" => vec![
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
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-build"]),
        ],
        "kennel-router.service" | "kennel-router-relief.service" => vec![
            ("RestrictAddressFamilies", vec!["AF_INET", "AF_INET6", "AF_UNIX"]),
            ("SystemCallFilter", vec!["@system-service"]),
            ("User", vec!["kennel-router"]),
        ],
        "kennel-routes.service" => vec![
            ("Group", vec!["root"]),
            (
                "ReadWritePaths",
                vec!["/var/lib/kennel/logins", "/var/lib/kennel/routes", "/var/lib/kennel/state"],
            ),
            ("RestrictAddressFamilies", vec!["AF_UNIX"]),
            ("SupplementaryGroups", vec!["kennel-router", "kennel-state"]),
            ("SystemCallFilter", vec!["@system-service"]),
        ],
        _ => deploy,
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
