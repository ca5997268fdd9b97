//! A record that proves a name, and that is gone afterwards.
//!
//! It is written down before it is added and forgotten after it was removed, so that one that a
//! killed run has left is removed by the next.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use hickory_proto::rr::Name;
use kennel_core::{HostName, Layout};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{DnsError, DnsProvider, propagation};
use crate::{AcmeError, say};

/// A TXT record as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Proof {
    name: String,
    value: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Own(#[from] AcmeError),
}

impl Proof {
    /// For a domain, with what the certificate authority wants to read.
    pub(crate) fn new(domain: &HostName, value: String) -> Self {
        Self { name: format!("_acme-challenge.{domain}."), value }
    }

    /// Adds it, and waits until the world sees it.
    pub(crate) async fn give(
        &self,
        layout: &Layout,
        provider: &dyn DnsProvider,
    ) -> Result<(), ProofError> {
        let mut kept = load(layout)?;
        kept.insert(self.clone());
        store(layout, &kept)?;
        let name = self.name()?;
        let not_served = || DnsError::Unseen(say::not_served(&name));
        let zone = provider.zone_of(&name).await?.ok_or_else(not_served)?;
        provider.add(&zone, &name, &self.value).await?;
        Ok(propagation::wait(&zone, &name, &self.value).await?)
    }

    async fn take_back(&self, provider: &dyn DnsProvider) -> Result<(), DnsError> {
        let name = self.name()?;
        match provider.zone_of(&name).await? {
            Some(zone) => provider.remove(&zone, &name, &self.value).await,
            // It was never added.
            None => Ok(()),
        }
    }

    fn name(&self) -> Result<Name, DnsError> {
        Name::from_ascii(&self.name).map_err(|error| DnsError::Unseen(error.to_string()))
    }
}

/// Removes every record that is written down. One that cannot be removed stays there.
pub(crate) async fn clean_up(layout: &Layout, provider: &dyn DnsProvider) -> Result<(), AcmeError> {
    let kept = load(layout)?;
    let mut left = BTreeSet::new();
    for proof in &kept {
        if let Err(error) = proof.take_back(provider).await {
            warn!("{}", say::record_left(&proof.name, &kennel_core::error_chain(&error)));
            left.insert(proof.clone());
        }
    }
    if left == kept { Ok(()) } else { store(layout, &left) }
}

fn load(layout: &Layout) -> Result<BTreeSet<Proof>, AcmeError> {
    let path = layout.acme_dns_records();
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| AcmeError::Content { path, why: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(AcmeError::file("read", &path)(error)),
    }
}

fn store(layout: &Layout, kept: &BTreeSet<Proof>) -> Result<(), AcmeError> {
    crate::kept::store(&layout.acme_dns_records(), kept, 0o600)
}
