//! Which hosts are reached over HTTPS, as far as configuration and files tell.

use std::fs;

use kennel_core::config::HostConfig;
use kennel_core::{AcmeAttempts, Certificate, CertificateName, HostName, Layout};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// What is known of all hosts.
#[derive(Debug)]
pub struct Https {
    layout: Layout,
    /// Whether certificates are ordered, and which orders have failed.
    ordered: Option<AcmeAttempts>,
    /// The operator's.
    certificates: Vec<Certificate>,
}

impl Https {
    /// Looks. What cannot be read counts as not there.
    #[must_use]
    pub fn look(layout: &Layout, config: &HostConfig) -> Self {
        let ordered = config.acme.as_ref().map(|_| {
            let text = fs::read(layout.acme_attempts()).unwrap_or_default();
            serde_json::from_slice(&text).unwrap_or_default()
        });
        let own = config.tls.certificates.iter().map(|files| files.certificate.clone());
        let mut files: Vec<_> = own.collect();
        if ordered.is_none() {
            // Else they are mostly those that were ordered, each named after its host.
            let entries = fs::read_dir(layout.certificates()).into_iter().flatten().flatten();
            let paths = entries.map(|entry| entry.path());
            files.extend(paths.filter(|path| Layout::is_certificate(path)));
        }
        let texts = files.iter().filter_map(|path| fs::read(path).ok());
        let certificates = texts.filter_map(|text| parse_certificate(&text).ok()).collect();
        Self { layout: layout.clone(), ordered, certificates }
    }

    /// Whether a host has a certificate, or is about to get one.
    #[must_use]
    pub fn is_for(&self, host: &HostName) -> bool {
        let names =
            [Some(CertificateName::Host(host.clone())), CertificateName::wildcard_above(host)];
        let names: Vec<_> = names.into_iter().flatten().collect();
        let failed =
            |attempts: &AcmeAttempts| names.iter().any(|name| attempts.names.contains_key(name));
        self.ordered.as_ref().is_some_and(|attempts| !failed(attempts))
            || names.iter().any(|name| self.layout.certificate(name).exists())
            || self.certificates.iter().any(|certificate| certificate.is_for(host))
    }

    /// The host's address.
    #[must_use]
    pub fn url(&self, host: &HostName) -> String {
        let scheme = if self.is_for(host) { "https" } else { "http" };
        format!("{scheme}://{host}")
    }
}

/// What the first certificate of a text in PEM form says.
///
/// # Errors
/// Why it has none that can be read.
pub fn parse_certificate(pem: &[u8]) -> Result<Certificate, String> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    Certificate::parse(&der).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use kennel_core::{AcmeAttempt, Timestamp};

    use super::*;

    #[test]
    fn hosts_that_have_a_certificate_or_get_one() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for path in [layout.certificates().join("x"), layout.acme_attempts()] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let config = |text: &str| {
            let text = format!("base_domain = \"k.example\"\n{text}");
            HostConfig::parse(&text, "config.toml").unwrap()
        };
        let host: HostName = "a.example".parse().unwrap();
        let url = |text: &str| Https::look(&layout, &config(text)).url(&host);
        let acme = "[acme]\naccept_terms = true";
        assert_eq!((url(""), url(acme)), ("http://a.example".into(), "https://a.example".into()));
        let at = Timestamp::from_millis(0);
        let failed = AcmeAttempt { failures: 1, at, next: at, why: "no".into() };
        let attempts =
            AcmeAttempts { paused_until: None, names: [(host.clone().into(), failed)].into() };
        fs::write(layout.acme_attempts(), serde_json::to_string(&attempts).unwrap()).unwrap();
        assert_eq!(url(acme), "http://a.example");
        // One that is not renewed is still one.
        fs::write(layout.certificate(&host.clone().into()), "").unwrap();
        assert_eq!(url(acme), "https://a.example");
    }
}
