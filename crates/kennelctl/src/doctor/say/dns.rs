//! Where the names lead.

use std::net::IpAddr;

use crate::doctor::finding::Finding;

const DNS: &str = "network.dns";

pub(in crate::doctor) fn dns_good(base: &str, control: &str) -> Finding {
    Finding::ok(DNS, format!("*.{base} and {control} lead here"))
}

pub(in crate::doctor) fn dns_without_configuration() -> Finding {
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

pub(in crate::doctor) fn dns_elsewhere(
    record: &str,
    asked: &str,
    elsewhere: &str,
    own: &[IpAddr],
) -> Finding {
    Finding::warning(DNS, format!("{asked} leads to {elsewhere}, which is not this host")).by_hand(
        format!(
            "unless that is a proxy or NAT before this host, make the record {}",
            records(record, own)
        ),
    )
}

pub(in crate::doctor) fn dns_silent(
    record: &str,
    asked: &str,
    why: &str,
    own: &[IpAddr],
) -> Finding {
    Finding::warning(DNS, format!("{asked} is not found: {why}"))
        .by_hand(format!("make the record {}", records(record, own)))
}
