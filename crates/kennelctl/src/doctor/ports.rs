//! Ports: the router's own, and those that deployments get.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kennel_core::config::PortRange;
use kennel_store::Deployment;

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::listeners::{self, Listener};
use super::say;

const ROUTER: &str = "kennel-router.socket";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let units = facts.units.as_ref().ok();
    let mut http = units.map(|units| units.ports(ROUTER)).unwrap_or_default();
    if http.is_empty() {
        http.push(80);
    }
    let range = facts.config.as_ref().map(|config| config.port_range);
    let in_range = |port| range.is_some_and(|it| (it.first.get()..=it.last.get()).contains(&port));
    let found = listeners::on(|port| http.contains(&port) || in_range(port));
    let mut findings = Vec::new();
    if let Some(units) = units {
        let open = units.is_active(ROUTER);
        findings
            .extend(http.iter().map(|port| judge_http(*port, open, facts.is_started(), &found)));
    }
    let Some(range) = range else { return findings };
    let deployments = facts.rows.as_ref().map(|rows| rows.deployments.as_slice());
    match deployments {
        Ok(deployments) => {
            let in_range: Vec<_> = found.into_iter().filter(|it| in_range(it.port)).collect();
            findings.extend(judge_range(range, &in_range, deployments));
        }
        Err(_) => findings.push(say::ports_without_rows()),
    }
    let read = |file: &str| {
        let path = Path::new("/proc/sys/net/ipv4").join(file);
        fs::read_to_string(path).unwrap_or_default()
    };
    findings.extend(judge_outgoing(
        range,
        &read("ip_local_port_range"),
        &read("ip_local_reserved_ports"),
    ));
    findings
}

fn judge_http(port: u16, open: bool, started: bool, found: &[Listener]) -> Finding {
    let other = found.iter().find(|listener| listener.port == port);
    match other {
        _ if open => say::http_good(port),
        Some(other) => say::http_taken(port, &say::listener(other), other),
        None if started => say::http_closed(port),
        None => say::http_free(port),
    }
}

fn judge_range(range: PortRange, found: &[Listener], deployments: &[Deployment]) -> Vec<Finding> {
    let holders: BTreeMap<u16, &Deployment> =
        deployments.iter().filter_map(|it| Some((it.port?.get(), it))).collect();
    let mut findings = Vec::new();
    for listener in found {
        let Some(holder) = holders.get(&listener.port) else {
            findings.push(say::port_of_a_stranger(listener));
            continue;
        };
        // Whose it is cannot be seen by everybody; then the row is believed.
        let unit = listener.process.as_ref().map(|process| process.unit.as_deref());
        if unit.is_some_and(|unit| unit != Some(holder.unit().as_str())) {
            findings.push(say::port_taken(listener, &holder.key.to_string()));
        }
    }
    or_ok(findings, || say::ports_good(range.first, range.last, found.len()))
}

/// Connections that programs of the host make get ports of their own from a range of the kernel's
/// (ip(7)); in Kennel's they take them from deployments that are about to start.
fn judge_outgoing(range: PortRange, local: &str, reserved: &str) -> Vec<Finding> {
    let (first, last) = (range.first.get(), range.last.get());
    let mut numbers = local.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(low)), Some(Ok(high))) = (numbers.next(), numbers.next()) else {
        return Vec::new();
    };
    let overlaps = first <= high && low <= last;
    let is_reserved = |port: u16| {
        reserved.trim().split(',').any(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if low <= port && port <= high)
        })
    };
    if overlaps && !(first.max(low)..=last.min(high)).all(is_reserved) {
        vec![say::ports_overlap(range.first, range.last, low, high)]
    } else {
        vec![say::ports_apart()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::listeners::Process;
    use super::super::tests::{deployment, said};
    use super::*;

    fn listener(port: u16, unit: Option<&str>) -> Listener {
        let mut listener = Listener::of(port, 33);
        let name = if unit.is_some() { "nginx" } else { "nc" };
        listener.process =
            Some(Process { pid: 4711, name: name.into(), unit: unit.map(str::to_owned) });
        listener
    }

    fn range() -> PortRange {
        PortRange { first: 18000.try_into().unwrap(), last: 19999.try_into().unwrap() }
    }

    #[test]
    fn port_80() {
        let nginx = listener(80, Some("nginx.service"));
        insta::assert_snapshot!(
            "http",
            said(&[
                judge_http(80, true, true, std::slice::from_ref(&nginx)),
                judge_http(80, false, true, &[nginx]),
                judge_http(80, false, true, &[listener(80, None)]),
                judge_http(80, false, true, &[Listener::of(80, 33)]),
                judge_http(80, false, true, &[]),
                judge_http(80, false, false, &[]),
            ])
        );
    }

    #[test]
    fn strangers_in_the_range() {
        let mut api = deployment("shop", "main", "api", kennel_core::DeploymentState::Active);
        api.port = Some(18003.try_into().unwrap());
        let unit = api.unit();
        let all = [api];
        let own = listener(18003, Some(unit.as_str()));
        insta::assert_snapshot!(
            "range",
            said(
                &[
                    judge_range(range(), std::slice::from_ref(&own), &all),
                    // An ordinary user does not see who it is.
                    judge_range(range(), &[Listener::of(18003, 990)], &all),
                    judge_range(
                        range(),
                        &[own, listener(18004, None), listener(18003, Some("nginx.service"))],
                        &all
                    ),
                    judge_range(range(), &[Listener::of(18004, 990)], &all),
                    vec![say::ports_without_rows()],
                ]
                .concat()
            )
        );
    }

    #[test]
    fn outgoing_connections() {
        insta::assert_snapshot!(
            "outgoing",
            said(
                &[
                    judge_outgoing(range(), "32768\t60999\n", "\n"),
                    judge_outgoing(range(), "1024\t65535\n", "\n"),
                    judge_outgoing(range(), "1024\t65535\n", "22,18000-19999\n"),
                ]
                .concat()
            )
        );
    }
}
