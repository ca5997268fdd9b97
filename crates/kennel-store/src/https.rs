//! Which hosts are reached over HTTPS, as far as configuration and files tell.

use std::fs;

use kennel_core::config::HostConfig;
use kennel_core::{AcmeAttempts, Certificate, HostPattern, Layout};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// What is known of all hosts.
#[derive(Debug)]
pub struct Https {
    layout: Layout,
    /// Whether certificates are ordered, and which orders have failed.
    ordered: Option<AcmeAttempts>,
    config: HostConfig,
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
        Self { layout: layout.clone(), ordered, config: config.clone(), certificates }
    }

    /// Whether hosts have a certificate, or are about to get one.
    #[must_use]
    pub fn is_for(&self, hosts: &HostPattern) -> bool {
        let names: Vec<_> = std::iter::once(hosts.clone()).chain(hosts.wildcard_above()).collect();
        let failed =
            |attempts: &AcmeAttempts| names.iter().any(|name| attempts.names.contains_key(name));
        let is_ordered = self.config.ordered_for(hosts).is_some();
        self.ordered.as_ref().is_some_and(|attempts| is_ordered && !failed(attempts))
            || names.iter().any(|name| self.layout.certificate(name).exists())
            || self.certificates.iter().any(|certificate| certificate.is_for(hosts))
    }

    /// The hosts' address.
    #[must_use]
    pub fn url(&self, hosts: &HostPattern) -> String {
        let scheme = if self.is_for(hosts) { "https" } else { "http" };
        format!("{scheme}://{hosts}")
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
        let host: HostPattern = "a.example".parse().unwrap();
        let url = |text: &str| Https::look(&layout, &config(text)).url(&host);
        let acme = "[acme]\naccept_terms = true";
        assert_eq!((url(""), url(acme)), ("http://a.example".into(), "https://a.example".into()));
        let at = Timestamp::from_millis(0);
        let failed = AcmeAttempt { failures: 1, at, next: at, why: "no".into() };
        let attempts = AcmeAttempts { paused_until: None, names: [(host.clone(), failed)].into() };
        fs::write(layout.acme_attempts(), serde_json::to_string(&attempts).unwrap()).unwrap();
        assert_eq!(url(acme), "http://a.example");
        // One that is not renewed is still one.
        fs::write(layout.certificate(&host), "").unwrap();
        assert_eq!(url(acme), "https://a.example");
    }

    #[test]
    fn a_wildcard_gets_one_where_it_can_be_proven() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let url = |text: &str| {
            let text = format!("base_domain = \"k.example\"\n[acme]\naccept_terms = true\n{text}");
            let config = HostConfig::parse(&text, "config.toml").unwrap();
            Https::look(&layout, &config).url(&"*.shop.example".parse().unwrap())
        };
        assert_eq!(url(""), "http://*.shop.example");
        let dns = "dns = { provider = \"rfc2136\", server = \"::1\", key_name = \"k\" }";
        assert_eq!(url(dns), "https://*.shop.example");
    }
}
