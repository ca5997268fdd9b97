//! How hosts are served over TLS: decided by the operator, done by the router.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What holds for all hosts that have a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether who comes over plain HTTP is sent to HTTPS.
    pub redirect: bool,
    /// For how many seconds browsers shall come over HTTPS only (RFC 6797); none says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts_secs: Option<u64>,
    /// The operator's own certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<TlsFiles>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { redirect: true, hsts_secs: None, certificates: Vec::new() }
    }
}

/// A certificate and its key, in PEM form. Both may be in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The server's certificate, and those that lead from it to one that browsers know.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
