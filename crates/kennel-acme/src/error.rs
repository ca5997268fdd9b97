//! Why no certificate was got at all.

use std::io;
use std::path::{Path, PathBuf};

use kennel_core::HostPattern;
use kennel_store::ConfigError;

/// The run ends with it; a single name that fails is no error, but an attempt.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The operator's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or directory.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// `read`, `write`.
        verb: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file says what it must not.
    #[error("{} cannot be used: {why}", .path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The DNS provider's key.
    #[error("cannot use /etc/kennel/acme/{name}: {why}")]
    Credential {
        /// The file's name.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// The certificate authority does not answer, or not as ACME says.
    #[error("the certificate authority {directory} cannot be used")]
    Authority {
        /// Its directory's address.
        directory: String,
        /// What was answered.
        source: instant_acme::Error,
    },
    /// It accepts no account.
    #[error("the certificate authority {directory} gives no account")]
    Account {
        /// Its directory's address.
        directory: String,
        /// What was answered.
        source: instant_acme::Error,
    },
    /// The router has not got the new certificate.
    #[error("the certificate for {name} is there, and the router was not told")]
    Router {
        /// For whom.
        name: HostPattern,
        /// What systemd said.
        source: Box<kennel_systemd::ManagerError>,
    },
}

impl AcmeError {
    /// Whether only the operator can mend it.
    #[must_use]
    pub fn is_of_set_up(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Content { .. } | Self::Credential { .. })
    }

    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { verb, path, source }
    }
}
