//! Certificates and their keys, from files, by the names they are for.
//!
//! A file that cannot be used is reported and stops no other; one that was good when it was read
//! last is served from memory as long as the new one is not.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennel_core::{
    Certificate, HostName, HostPattern, Layout, NoCertificate, Timestamp, TlsFiles, error_chain,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tracing::warn;

use crate::say;

/// All that are known.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    files: HashMap<PathBuf, Arc<Loaded>>,
    /// Of those for one name the one that is valid for the longest.
    by_name: HashMap<String, Arc<Loaded>>,
    /// What stands in for the certificate of Kennel's own host while there is none.
    stand_in: Option<(HostName, Arc<Loaded>)>,
}

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Loaded {
    key: Arc<CertifiedKey>,
    facts: Certificate,
    /// Whether browsers know who vouches; a stand-in vouches for itself.
    is_vouched_for: bool,
    stamp: Vec<Stamp>,
}

/// Tells a file from the one that it was.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// A certificate's files cannot be used.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has no {what} in PEM form", .path.display())]
    Pem { path: PathBuf, what: &'static str, source: pem::Error },
    #[error("{} begins with something else than a server's certificate", .path.display())]
    Parse { path: PathBuf, source: NoCertificate },
    #[error("{} is for no host name", .path.display())]
    Nameless { path: PathBuf },
    #[error("{} cannot be served", .path.display())]
    Use { path: PathBuf, source: rustls::Error },
}

impl Loaded {
    /// What handshakes are made with.
    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether browsers can believe it, so that visitors may be sent here.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.is_vouched_for
    }

    /// What makes one better than another: that it is valid, and for how long.
    fn rank(&self, now: Timestamp) -> (bool, Timestamp) {
        (self.facts.not_before <= now, self.facts.not_after)
    }

    fn read(files: &TlsFiles, stamp: Vec<Stamp>) -> Result<Self, CertificateError> {
        let path = &files.certificate;
        let chain = read(path)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .and_then(
                |chain: Vec<_>| {
                    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
                },
            )
            .map_err(|source| CertificateError::Pem {
                path: path.clone(),
                what: "certificate",
                source,
            })?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|source| {
            CertificateError::Pem { path: files.key.clone(), what: "private key", source }
        })?;
        let facts = Certificate::parse(chain.first().map_or(&[][..], |first| first.as_ref()))
            .map_err(|source| CertificateError::Parse { path: path.clone(), source })?;
        if facts.names.is_empty() {
            return Err(CertificateError::Nameless { path: path.clone() });
        }
        let key = CertifiedKey::from_der(chain, key, &default_provider())
            .map_err(|source| CertificateError::Use { path: path.clone(), source })?;
        Ok(Self { key: Arc::new(key), facts, is_vouched_for: true, stamp })
    }

    /// One that nobody vouches for.
    fn stand_in(host: &HostName) -> Option<Self> {
        let made = rcgen::generate_simple_self_signed([host.to_string()]).ok()?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let der = made.cert.der().clone();
        let facts = Certificate::parse(&der).ok()?;
        let key = CertifiedKey::from_der(vec![der], key.into(), &default_provider()).ok()?;
        Some(Self { key: Arc::new(key), facts, is_vouched_for: false, stamp: Vec::new() })
    }
}

impl Certificates {
    /// Reads each file `<name>.pem` of the directory, which holds a key and its certificates, and
    /// the operator's own. What `previous` has of the same files is not read again.
    pub(crate) fn load(directory: &Path, own: &[TlsFiles], previous: &Self) -> Self {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let kept = entries.map(|entry| entry.path()).filter(|path| Layout::is_certificate(path));
        let kept = kept.map(|path| TlsFiles { certificate: path.clone(), key: path });
        let mut files = HashMap::new();
        for one in kept.chain(own.iter().cloned()) {
            let before = previous.files.get(&one.certificate);
            let stamp: io::Result<Vec<_>> =
                [&one.certificate, &one.key].into_iter().map(|path| stamp(path)).collect();
            let loaded = match (stamp, before) {
                (Ok(stamp), Some(before)) if before.stamp == stamp => Some(Arc::clone(before)),
                (stamp, before) => match Loaded::read(&one, stamp.unwrap_or_default()) {
                    Ok(loaded) => Some(Arc::new(loaded)),
                    Err(error) => {
                        warn!("{}", say::bad_certificate(&error_chain(&error), before.is_some()));
                        before.cloned()
                    }
                },
            };
            files.extend(loaded.map(|loaded| (one.certificate, loaded)));
        }
        let now = Timestamp::from(std::time::SystemTime::now());
        let mut all: Vec<&Arc<Loaded>> = files.values().collect();
        all.sort_by_key(|loaded| loaded.rank(now));
        let named = all.into_iter().flat_map(|loaded| {
            loaded.facts.names.iter().map(|name| (name.clone(), Arc::clone(loaded)))
        });
        let by_name = named.collect();
        Self { files, by_name, stand_in: previous.stand_in.clone() }
    }

    /// The one for these hosts that is valid for the longest. An expired one is better than none:
    /// its visitors learn why.
    pub(crate) fn of(&self, hosts: &HostPattern) -> Option<Arc<Loaded>> {
        let now = Timestamp::from(std::time::SystemTime::now());
        let all = Certificate::names_of(hosts).filter_map(|name| self.by_name.get(&name));
        all.max_by_key(|loaded| loaded.rank(now)).cloned()
    }

    /// What stands in for the certificate of Kennel's own host, so that it is never out of reach.
    pub(crate) fn stand_in(&mut self, host: &HostName) -> Option<Arc<Loaded>> {
        if self.stand_in.as_ref().is_none_or(|(name, _)| name != host) {
            self.stand_in = Loaded::stand_in(host).map(|made| (host.clone(), Arc::new(made)));
        }
        self.stand_in.as_ref().map(|(_, made)| Arc::clone(made))
    }

    /// How many files are in use.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    let changed = (found.ctime(), found.ctime_nsec());
    Ok(Stamp { inode: found.ino(), bytes: found.len(), changed })
}
