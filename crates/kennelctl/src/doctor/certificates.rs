//! Whether hosts get their certificates, as kennel-acme has found out.

use std::fs;
use std::io;

use kennel_core::config::HostConfig;
use kennel_core::{AcmeAttempts, HostPattern, Layout, RouteTable, Timestamp};
use kennel_store::Https;

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;
use crate::clock;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match facts.config.as_ref().filter(|config| config.acme.is_some()) {
        Some(config) => judge(&facts.host.layout, config, clock::now()),
        None => Vec::new(),
    }
}

fn judge(layout: &Layout, config: &HostConfig, now: Timestamp) -> Vec<Finding> {
    let attempts: AcmeAttempts = match fs::read(layout.acme_attempts()) {
        // What cannot be parsed is forgotten by kennel-acme too.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => AcmeAttempts::default(),
        Err(error) => return vec![say::certificates_unseen(&error)],
    };
    let mut findings = Vec::new();
    if let Some(until) = attempts.paused_until.filter(|until| now < *until) {
        findings.push(say::authority_impatient(until.since(now)));
    }
    let failed = attempts.names.iter();
    findings
        .extend(failed.map(|(name, it)| say::no_certificate(name, &it.why, it.next.since(now))));
    findings.extend(never_ordered(layout, config).iter().map(say::never_ordered));
    or_ok(findings, say::certificates_good)
}

/// The hosts that are routed, and have no certificate nor will get one. What is wrong with the table
/// itself is said elsewhere.
fn never_ordered(layout: &Layout, config: &HostConfig) -> Vec<HostPattern> {
    let text = fs::read(layout.route_table()).unwrap_or_default();
    let Ok(table) = serde_json::from_slice::<RouteTable>(&text) else { return Vec::new() };
    let https = Https::look(layout, config);
    let routed = table.hosts.into_keys();
    routed.filter(|hosts| config.ordered_for(hosts).is_none() && !https.is_for(hosts)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kennel_core::AcmeAttempt;

    use super::super::tests::said;
    use super::*;

    fn config(dns: &str) -> HostConfig {
        let text = format!("base_domain = \"k.example\"\n[acme]\naccept_terms = true\n{dns}");
        HostConfig::parse(&text, "config.toml").unwrap()
    }

    #[test]
    fn a_wildcard_that_nobody_proves() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let mut table = RouteTable::empty(1);
        table.hosts = ["a.example.com", "*.example.com"]
            .map(|name| (name.parse().unwrap(), Vec::new()))
            .into();
        fs::create_dir_all(layout.route_table().parent().unwrap()).unwrap();
        fs::write(layout.route_table(), serde_json::to_string(&table).unwrap()).unwrap();
        let now = Timestamp::from_millis(0);
        insta::assert_snapshot!(said(&judge(&layout, &config(""), now)), @"
        Network
          warn  certificates  *.example.com has no certificate, and none is ordered: wildcards are proven in DNS alone
                              do: configure [acme.dns], or bring a certificate of your own (docs/tls.md)
        ");
        let dns = "dns = { provider = \"rfc2136\", server = \"::1\", key_name = \"k\" }";
        assert!(never_ordered(&layout, &config(dns)).is_empty());
    }

    #[test]
    fn failures_in_the_authoritys_words() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let now = Timestamp::from_millis(5_000_000);
        insta::assert_snapshot!(said(&judge(&layout, &config(""), now)), @"
        Network
          ok    certificates  no order for a certificate has failed lately
        ");
        let failed = |why: &str, minutes: u64| AcmeAttempt {
            failures: 1,
            at: now,
            next: now.plus(Duration::from_secs(60 * minutes)),
            why: why.into(),
        };
        let attempts = AcmeAttempts {
            paused_until: Some(now.plus(Duration::from_secs(1800))),
            names: [
                ("a.example.com".parse().unwrap(), failed("a.example.com has no address", 15)),
                ("b.example.com".parse().unwrap(), failed("too many (rateLimited)", 240)),
            ]
            .into(),
        };
        let path = layout.acme_attempts();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_string(&attempts).unwrap()).unwrap();
        insta::assert_snapshot!(said(&judge(&layout, &config(""), now)), @"
        Network
          warn  certificates  the certificate authority wants no order for another 30 min 0 s
                              do: wait; kennel-acme goes on by itself
          warn  certificates  a.example.com: a.example.com has no address; ordered again in 15 min 0 s
          warn  certificates  b.example.com: too many (rateLimited); ordered again in 4 h 0 min
                              do: mend it; kennel-acme orders again by itself (docs/tls.md)
        ");
    }
}
