//! Who listens where.

use kennel_core::Port;

use crate::doctor::finding::Finding;
use crate::doctor::listeners::Listener;

const HTTP: &str = "network.http";
const PORTS: &str = "network.ports";
const OUTGOING: &str = "network.outgoing-ports";

/// A listener in words.
pub(in crate::doctor) fn listener(listener: &Listener) -> String {
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

pub(in crate::doctor) fn http_good(port: u16) -> Finding {
    Finding::ok(HTTP, format!("port {port} is the router's"))
}

pub(in crate::doctor) fn http_taken(port: u16, by: &str, other: &Listener) -> Finding {
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

pub(in crate::doctor) fn http_closed(port: u16) -> Finding {
    Finding::failure(HTTP, format!("nobody listens on port {port}"))
        .run("systemctl start kennel-router.socket")
}

pub(in crate::doctor) fn http_free(port: u16) -> Finding {
    Finding::ok(HTTP, format!("port {port} is free for the router"))
}

pub(in crate::doctor) fn ports_good(first: Port, last: Port, listeners: usize) -> Finding {
    Finding::ok(PORTS, format!("between {first} and {last} only deployments listen ({listeners})"))
}

pub(in crate::doctor) fn ports_without_rows() -> Finding {
    Finding::skipped(PORTS, "whose ports they are is in state.db, which cannot be read")
}

pub(in crate::doctor) fn port_of_a_stranger(stranger: &Listener) -> Finding {
    let by = listener(stranger);
    let sentence =
        format!("port {} of port_range is used by {by}, which is no deployment", stranger.port);
    who(Finding::warning(PORTS, sentence), stranger)
}

pub(in crate::doctor) fn port_taken(other: &Listener, key: &str) -> Finding {
    let by = listener(other);
    let sentence = format!("port {} belongs to {key}, and {by} listens on it", other.port);
    who(Finding::failure(PORTS, sentence), other)
}

pub(in crate::doctor) fn ports_apart() -> Finding {
    Finding::ok(OUTGOING, "the kernel takes none of Kennel's ports for outgoing connections")
}

pub(in crate::doctor) fn ports_overlap(first: Port, last: Port, low: u16, high: u16) -> Finding {
    let sentence = format!(
        "outgoing connections take ports from {low} to {high}, and port_range is {first} to {last}"
    );
    Finding::warning(OUTGOING, sentence).run(format!(
        "echo net.ipv4.ip_local_reserved_ports={first}-{last} > /etc/sysctl.d/kennel.conf && sysctl --system"
    ))
}
