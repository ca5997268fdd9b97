//! What an X.509 certificate says of itself.

use std::time::Duration;

use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName};

use crate::{HostPattern, Timestamp};

/// What a server's certificate is for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names it is for (RFC 5280 §4.2.1.6), in lower case; a wildcard's begins with `*.`.
    pub names: Vec<String>,
    /// Its number, as it is encoded (RFC 5280 §4.1.2.2).
    pub serial: Vec<u8>,
    /// Which of the issuer's keys has signed it (RFC 5280 §4.2.1.1).
    pub authority_key: Option<Vec<u8>>,
    /// Who vouches, as RFC 4514 writes it: `CN=R11,O=Let's Encrypt,C=US`.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// The bytes are no certificate.
#[derive(Debug, thiserror::Error)]
#[error("it is no X.509 certificate")]
pub struct NoCertificate(#[source] x509_cert::der::Error);

impl Certificate {
    /// Reads one from its DER form.
    ///
    /// # Errors
    /// [`NoCertificate`] if it is none.
    pub fn parse(der: &[u8]) -> Result<Self, NoCertificate> {
        let parsed = Parsed::from_der(der).map_err(NoCertificate)?;
        let facts = parsed.tbs_certificate();
        let names = facts.get_extension::<SubjectAltName>().map_err(NoCertificate)?;
        let names = names.map(|(_critical, names)| names.0).unwrap_or_default();
        let authority = facts.get_extension::<AuthorityKeyIdentifier>().map_err(NoCertificate)?;
        let at = |since_1970: Duration| {
            Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
        };
        Ok(Self {
            names: names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                    _ => None,
                })
                .collect(),
            serial: facts.serial_number().as_bytes().to_vec(),
            authority_key: authority.and_then(|(_critical, authority)| {
                authority.key_identifier.map(|key| key.as_bytes().to_vec())
            }),
            issuer: facts.issuer().to_string(),
            not_before: at(facts.validity().not_before.to_unix_duration()),
            not_after: at(facts.validity().not_after.to_unix_duration()),
        })
    }

    /// The names that make a certificate one for these hosts: their own, and a host's wildcard.
    pub fn names_of(hosts: &HostPattern) -> impl Iterator<Item = String> {
        std::iter::once(hosts.to_string()).chain(hosts.wildcard_above().map(String::from))
    }

    /// Whether it is for these hosts.
    #[must_use]
    pub fn is_for(&self, hosts: &HostPattern) -> bool {
        Self::names_of(hosts).any(|name| self.names.contains(&name))
    }
}
