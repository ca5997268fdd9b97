//! Whether hosts get their certificates.

use std::io;
use std::time::Duration;

use kennel_core::HostPattern;

use crate::clock;
use crate::doctor::finding::Finding;

const CERTIFICATES: &str = "network.certificates";

pub(in crate::doctor) fn certificates_good() -> Finding {
    Finding::ok(CERTIFICATES, "no order for a certificate has failed lately")
}

pub(in crate::doctor) fn certificates_unseen(error: &io::Error) -> Finding {
    Finding::warning(CERTIFICATES, format!("what kennel-acme remembers cannot be read: {error}"))
        .run("systemd-tmpfiles --create kennel.conf")
}

pub(in crate::doctor) fn authority_impatient(wait: Duration) -> Finding {
    let sentence =
        format!("the certificate authority wants no order for another {}", clock::took(wait));
    Finding::warning(CERTIFICATES, sentence).by_hand("wait; kennel-acme goes on by itself")
}

pub(in crate::doctor) fn never_ordered(hosts: &HostPattern) -> Finding {
    let sentence = format!(
        "{hosts} has no certificate, and none is ordered: wildcards are proven in DNS alone"
    );
    Finding::warning(CERTIFICATES, sentence)
        .by_hand("configure [acme.dns], or bring a certificate of your own (docs/tls.md)")
}

pub(in crate::doctor) fn no_certificate(name: &HostPattern, why: &str, wait: Duration) -> Finding {
    let again = clock::took(wait);
    Finding::warning(CERTIFICATES, format!("{name}: {why}; ordered again in {again}"))
        .by_hand("mend it; kennel-acme orders again by itself (docs/tls.md)")
}
