//! Every sentence of kennel-acme.

use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::Name;
use kennel_core::{Certificate, HostPattern, Timestamp};

pub(crate) fn ordering(name: &HostPattern, more: usize) -> String {
    match more {
        0 => format!("ordering a certificate for {name}"),
        _ => format!("ordering a certificate for {name}, {more} more to come"),
    }
}

pub(crate) fn new_account(directory: &str) -> String {
    format!("opened an account with {directory}")
}

pub(crate) fn got(name: &HostPattern, certificate: &Certificate, now: Timestamp) -> String {
    let days = certificate.not_after.since(now).as_secs() / (24 * 3600);
    format!("{name} has a certificate by {} for {days} days", certificate.issuer)
}

pub(crate) fn failed(name: &HostPattern, why: &str, wait: Duration) -> String {
    format!("no certificate for {name}: {why}; trying again in {}", span(wait))
}

pub(crate) fn paused(why: &str, wait: Duration) -> String {
    format!("the certificate authority asks for patience: {why}; no order for {}", span(wait))
}

pub(crate) fn removed(name: &HostPattern) -> String {
    format!("removed the certificate for {name}: it has expired, and nothing is routed there")
}

pub(crate) fn unread(path: &Path, why: &str) -> String {
    format!("{} counts as no certificate: {why}", path.display())
}

pub(crate) fn name_server_silent(server: &Name) -> String {
    format!("the name server {server} does not answer; going on without it")
}

pub(crate) fn unseen(name: &Name, servers: &[String], waited: Duration) -> String {
    let (servers, waited) = (servers.join(", "), waited.as_secs());
    format!("{servers} did not answer with the new TXT record of {name} within {waited} s")
}

pub(crate) fn not_served(name: &Name) -> String {
    format!("the name server of [acme.dns] does not serve a zone for {name}")
}

pub(crate) fn record_left(name: &str, why: &str) -> String {
    format!("a TXT record of {name} stays for now: {why}; the next run removes it")
}

pub(crate) fn renewed_early(name: &HostPattern, why: &str) -> String {
    format!("the certificate authority wants {name} to be renewed now: {why}")
}

pub(crate) fn no_renewal_information(name: &HostPattern, why: &str) -> String {
    format!("the certificate authority does not say when to renew {name}: {why}")
}

fn span(length: Duration) -> String {
    // Rounded, since it is a little less than it was by the time it is said.
    match (length.as_secs() + 30) / 60 {
        minutes if minutes < 120 => format!("{minutes} min"),
        minutes => format!("{} h", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let name: HostPattern = "a.example".parse().unwrap();
        let certificate = Certificate {
            names: vec!["a.example".into()],
            serial: vec![1],
            authority_key: None,
            issuer: "CN=R11,O=Let\'s Encrypt,C=US".into(),
            not_before: Timestamp::from_millis(0),
            not_after: Timestamp::from_millis(90 * 24 * 3_600_000),
        };
        let record = Name::from_ascii("_acme-challenge.a.example.").unwrap();
        let all = [
            ordering(&name, 0),
            ordering(&name, 3),
            new_account("https://ca.example/directory"),
            got(&name, &certificate, Timestamp::from_millis(5)),
            failed(&name, "a.example has no address: no such host", Duration::from_secs(899)),
            failed(&name, "it says no (unauthorized)", Duration::from_secs(24 * 3600 - 1)),
            paused("too many (rateLimited)", Duration::from_secs(3600)),
            removed(&name),
            unread(Path::new("/x.pem"), "no section found"),
            name_server_silent(&record),
            unseen(&record, &["ns1.a.".into(), "ns2.a.".into()], Duration::from_secs(120)),
            not_served(&record),
            record_left("_acme-challenge.a.example.", "it says no"),
            renewed_early(&name, "https://ca.example/incident"),
            no_renewal_information(&name, "no such certificate"),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        ordering a certificate for a.example
        ordering a certificate for a.example, 3 more to come
        opened an account with https://ca.example/directory
        a.example has a certificate by CN=R11,O=Let's Encrypt,C=US for 89 days
        no certificate for a.example: a.example has no address: no such host; trying again in 15 min
        no certificate for a.example: it says no (unauthorized); trying again in 24 h
        the certificate authority asks for patience: too many (rateLimited); no order for 60 min
        removed the certificate for a.example: it has expired, and nothing is routed there
        /x.pem counts as no certificate: no section found
        the name server _acme-challenge.a.example. does not answer; going on without it
        ns1.a., ns2.a. did not answer with the new TXT record of _acme-challenge.a.example. within 120 s
        the name server of [acme.dns] does not serve a zone for _acme-challenge.a.example.
        a TXT record of _acme-challenge.a.example. stays for now: it says no; the next run removes it
        the certificate authority wants a.example to be renewed now: https://ca.example/incident
        the certificate authority does not say when to renew a.example: no such certificate
        ");
    }
}
