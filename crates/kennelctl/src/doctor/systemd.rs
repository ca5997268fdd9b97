//! systemd itself, the bus, and Kennel's own units.

use std::sync::Arc;
use std::time::Duration;

use kennel_systemd::Manager;

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::units::{STARTED_BY_OTHERS, Units, wanted};
use super::{command, say};

/// `RestartSteps=` and `RestartMaxDelaySec=` in kennel-webhook.service came with it.
const OLDEST: u32 = 254;

/// What an operator does who has another server on port 443.
const MAY_BE_MASKED: &[&str] = &["kennel-router-tls.socket"];

/// A bus that works answers at once.
const BUS: Duration = Duration::from_secs(4);

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let version = command::ask(&["systemctl", "--version"]).await;
    let version = version.map(|answer| answer.out).map_err(|silence| silence.why());
    let mut findings = vec![judge_version(version.as_deref().map_err(String::as_str))];
    findings.push(match tokio::time::timeout(BUS, Manager::connect()).await {
        Ok(Ok(_)) => say::bus_good(),
        Ok(Err(error)) => say::bus_broken(&kennel_core::error_chain(&error)),
        Err(_) => say::bus_broken("it does not answer"),
    });
    let units = match &facts.units {
        Ok(units) => units,
        Err(why) => {
            findings.push(say::units_unknown(why));
            return findings;
        }
    };
    findings.extend(installed(units));
    findings.extend(started(units));
    let mut failed = Vec::new();
    for name in failed_units(units) {
        failed.push(say::unit_failed(name, &last_words(name).await));
    }
    findings.extend(or_ok(failed, say::no_unit_failed));
    findings
}

/// `systemd 257 (257.9-1)`.
fn judge_version(said: Result<&str, &str>) -> Finding {
    let said = match said {
        Ok(said) => said,
        Err(why) => return say::systemd_unknown(why),
    };
    let number = said.split_whitespace().nth(1).unwrap_or_default();
    let plain: String = number.chars().take_while(char::is_ascii_digit).collect();
    match plain.parse::<u32>() {
        Ok(version) if version < OLDEST => say::systemd_old(version, OLDEST),
        Ok(version) => say::systemd_version(version),
        Err(_) => say::systemd_unknown("does not tell its version"),
    }
}

fn installed(units: &Units) -> Vec<Finding> {
    let expected =
        || ["kennel.target"].into_iter().chain(wanted()).chain(STARTED_BY_OTHERS.iter().copied());
    let load = |name| units.get(name).map_or("not-found", |unit| unit.load.as_str());
    if expected().all(|name| load(name) == "not-found") {
        return vec![say::units_missing()];
    }
    let mut findings = Vec::new();
    for name in expected() {
        // Instance 0 stands for the template.
        let file = name.replace("@0.", "@.");
        match load(name) {
            "loaded" => {}
            "masked" if MAY_BE_MASKED.contains(&name) => {}
            "masked" => findings.push(say::unit_masked(&file)),
            "not-found" => findings.push(say::unit_missing(&file)),
            trouble => findings.push(say::unit_unreadable(&file, trouble)),
        }
    }
    if units.0.iter().any(|(name, unit)| name.starts_with("kennel") && unit.needs_reload) {
        findings.push(say::units_outdated());
    }
    or_ok(findings, || say::units_good(expected().count()))
}

fn started(units: &Units) -> Vec<Finding> {
    let Some(target) = units.get("kennel.target").filter(|target| target.load == "loaded") else {
        return Vec::new();
    };
    if !target.is_active() {
        return vec![say::target_down()];
    }
    let mut findings = Vec::new();
    if target.file_state == "disabled" {
        findings.push(say::target_disabled());
    }
    for name in wanted() {
        // Of the services only the router stays.
        let must_run = !name.ends_with(".service") || name == "kennel-router.service";
        if must_run && !units.is_busy(name) && units.get(name).is_some_and(|it| it.load == "loaded")
        {
            findings.push(say::unit_down(name));
        }
    }
    or_ok(findings, say::target_good)
}

/// Kennel's own; deployments are compared with their rows.
fn failed_units(units: &Units) -> impl Iterator<Item = &str> {
    let failed = units.0.iter().filter(|(name, unit)| {
        name.starts_with("kennel") && !name.contains('@') && unit.active == "failed"
    });
    failed.map(|(name, _)| name.as_str())
}

async fn last_words(unit: &str) -> String {
    // Its own words; `--unit` would find systemd's about it as well, which come last.
    let of_unit = format!("_SYSTEMD_UNIT={unit}");
    let tail = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1", &of_unit];
    let said = command::ask(&tail).await.map(|answer| answer.out).unwrap_or_default();
    said.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    /// A healthy host's units, with some lines changed.
    fn units(changes: &[(&str, &str, &str)]) -> Units {
        let mut text = String::new();
        for name in
            ["kennel.target"].into_iter().chain(wanted()).chain(STARTED_BY_OTHERS.iter().copied())
        {
            let active = if name.ends_with(".service") && name != "kennel-router.service" {
                "inactive"
            } else {
                "active"
            };
            let mut block = format!(
                "Id={name}\nLoadState=loaded\nActiveState={active}\nUnitFileState=enabled\nNeedDaemonReload=no\n"
            );
            for (unit, from, to) in changes {
                if *unit == name {
                    block = block.replace(from, to);
                }
            }
            text.push_str(&block);
            text.push('\n');
        }
        Units::parse(&text)
    }

    #[test]
    fn a_healthy_host() {
        let units = units(&[]);
        assert_eq!(failed_units(&units).count(), 0);
        insta::assert_snapshot!("healthy", said(&[installed(&units), started(&units)].concat()));
    }

    #[test]
    fn units_that_are_not_as_shipped() {
        let bad = units(&[
            ("kennel-build@0.service", "loaded", "masked"),
            ("kennel-dispatch.service", "loaded", "not-found"),
            ("kennel-config.path", "loaded", "bad-setting"),
            ("kennel-router.service", "Reload=no", "Reload=yes"),
            // Another server has the port.
            ("kennel-router-tls.socket", "loaded", "masked"),
        ]);
        insta::assert_snapshot!("installed", said(&installed(&bad)));
        insta::assert_snapshot!("not_installed", said(&installed(&Units::default())));
    }

    #[test]
    fn units_that_do_not_run() {
        let bad = units(&[
            ("kennel.target", "enabled", "disabled"),
            ("kennel-webhook.socket", "=active", "=inactive"),
            ("kennel-router.service", "=active", "=failed"),
        ]);
        assert_eq!(failed_units(&bad).collect::<Vec<_>>(), ["kennel-router.service"]);
        insta::assert_snapshot!("started", said(&started(&bad)));
        let down = units(&[("kennel.target", "=active", "=inactive")]);
        insta::assert_snapshot!("down", said(&started(&down)));
    }

    #[test]
    fn versions_and_failures() {
        insta::assert_snapshot!(
            "others",
            said(&[
                judge_version(Ok("systemd 257 (257.9-1)\n+PAM")),
                judge_version(Ok("systemd 252 (252.1)\n")),
                judge_version(Ok("systemd 258~rc1 (258~rc1-1)\n")),
                judge_version(Err("is not installed")),
                say::bus_good(),
                say::bus_broken(
                    "cannot reach systemd over D-Bus; is dbus.service running?: I/O error"
                ),
                say::units_unknown("Failed to connect to bus"),
                say::unit_failed("kennel-router.service", "no route table"),
                say::unit_failed("kennel-router.service", ""),
                say::no_unit_failed(),
            ])
        );
    }
}
