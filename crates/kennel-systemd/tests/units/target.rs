//! What starts and stops together, and what starts others.

use std::collections::BTreeSet;

use crate::unit::{Unit, all};

#[test]
fn the_target_starts_and_stops_everything() {
    let target = Unit::load("kennel.target");
    let wanted: BTreeSet<_> = target.values("Wants").collect();
    let mut static_units = BTreeSet::new();
    for unit in all() {
        let part = unit.says("PartOf=kennel.target");
        // The Nix daemon and its slice are not Kennel's to stop; the last only stops another.
        let apart = [
            "kennel.target",
            "builds.slice",
            "nix-daemon.service.d/10-kennel.conf",
            "kennel-webhook-secrets.service",
        ]
        .contains(&unit.name.as_str());
        assert_eq!(part, !apart, "{}", unit.name);
        assert_eq!(unit.values("WantedBy").next().is_some(), unit.name == "kennel.target");
        let activated = [
            "kennel-acme.service",
            "kennel-api.service",
            "kennel-webhook.service",
            "kennel-dispatch.service",
            "kennel-poll.service",
            "kennel-router-relief.service",
            "kennel-routes.service",
            "kennel-sleep.service",
            "kennel-sleep.timer",
            "kennel-sweep.service",
            "kennel-tidy.service",
        ];
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
