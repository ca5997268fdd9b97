//! The proof in DNS that a name is ours (RFC 8555 §8.4), which alone is believed for wildcards.

mod cloudflare;
mod message;
mod proof;
mod propagation;
mod rfc2136;

use std::path::Path;
use std::{env, fs, io};

use async_trait::async_trait;
use hickory_proto::rr::Name;
use kennel_core::HostPattern;
use kennel_core::config::{Acme, AcmeDns};

pub(crate) use cloudflare::Cloudflare;
pub(crate) use proof::{Proof, ProofError, clean_up};
pub(crate) use rfc2136::NameServer;

use crate::AcmeError;

/// Who changes DNS. Both changes may be repeated, and touch no other record of the same name: two
/// certificates may be proven under one name at once.
#[async_trait]
pub(crate) trait DnsProvider: Sync {
    /// The zone that it can change for a name, and the zone's name servers; none if it has none.
    async fn zone_of(&self, name: &Name) -> Result<Option<Zone>, DnsError>;
    /// Adds a TXT record.
    async fn add(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError>;
    /// Removes a TXT record.
    async fn remove(&self, zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError>;
}

/// A part of DNS that is changed in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    /// Whom the world asks.
    pub(crate) servers: Vec<Name>,
}

/// DNS does not prove a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DnsError {
    /// A server does not answer.
    #[error("the name server {server} does not answer")]
    Silent { server: String, source: io::Error },
    /// It answers something else than DNS.
    #[error("the name server {server} gives an answer that cannot be read: {why}")]
    Unreadable { server: String, why: String },
    /// It says no.
    #[error("the name server {server} refuses {what}: {why}")]
    Refused { server: String, what: String, why: String },
    /// A provider's API does not answer, or not as it should.
    #[error("{api} does not answer")]
    Unreachable { api: String, source: io::Error },
    /// It says no.
    #[error("{api} refuses {what}: {why}")]
    Forbidden { api: &'static str, what: String, why: String },
    /// Nobody changes it, or the world would not see it.
    #[error("{0}")]
    Unseen(String),
}

/// The provider that the configuration names.
pub(crate) fn provider(acme: &Acme) -> Result<Option<Box<dyn DnsProvider>>, AcmeError> {
    let Some(dns) = &acme.dns else { return Ok(None) };
    let name = dns.credential();
    let key = read_credential(name)?;
    let provider: Result<Box<dyn DnsProvider>, String> = match dns {
        AcmeDns::Rfc2136(config) => NameServer::new(config, &key).map(|it| Box::new(it) as _),
        AcmeDns::Cloudflare(config) => Cloudflare::new(config, &key).map(|it| Box::new(it) as _),
    };
    provider.map(Some).map_err(|why| AcmeError::Credential { name, why })
}

/// Whether the name is proven in DNS. A wildcard is not proven otherwise.
pub(crate) async fn serves(
    provider: &dyn DnsProvider,
    name: &HostPattern,
) -> Result<bool, DnsError> {
    match name {
        HostPattern::Wildcard(_) => Ok(true),
        HostPattern::Host(host) => {
            let host = Name::from_ascii(format!("{host}."));
            let host = host.map_err(|error| DnsError::Unseen(error.to_string()))?;
            Ok(provider.zone_of(&host).await?.is_some())
        }
    }
}

/// What systemd puts before a file's name when a directory is handed over as the credential `acme`
/// (systemd.exec(5), `LoadCredential=`).
const CREDENTIAL_PREFIX: &str = "acme_";

fn read_credential(name: &'static str) -> Result<String, AcmeError> {
    let refuse = |why: String| AcmeError::Credential { name, why };
    let directory = env::var_os("CREDENTIALS_DIRECTORY")
        .ok_or_else(|| refuse("it was started without credentials".into()))?;
    let path = Path::new(&directory).join(format!("{CREDENTIAL_PREFIX}{name}"));
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse("it is not there; put the key into it, mode 600".into()),
        _ => refuse(error.to_string()),
    })
}
