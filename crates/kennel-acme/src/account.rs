//! The account with the certificate authority: one per directory, kept with its key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use kennel_core::Layout;
use kennel_core::config::Acme;
use kennel_store::whole_file;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::{AcmeError, say};

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Where it is known.
    directory: String,
    credentials: AccountCredentials,
}

/// The account that is kept, or a new one.
pub(crate) async fn open(layout: &Layout, acme: &Acme) -> Result<Account, AcmeError> {
    let path = layout.acme_account();
    match kept(&path)? {
        Some(kept) if kept.directory == acme.directory => builder(acme)?
            .from_credentials(kept.credentials)
            .await
            .map_err(|source| AcmeError::Authority { directory: acme.directory.clone(), source }),
        Some(_) | None => create(&path, acme).await,
    }
}

/// Forgets an account that the authority does not know any more.
pub(crate) fn forget(layout: &Layout) -> Result<(), AcmeError> {
    let path = layout.acme_account();
    whole_file::remove(&path).map(drop).map_err(AcmeError::file("remove", &path))
}

async fn create(path: &Path, acme: &Acme) -> Result<Account, AcmeError> {
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.as_deref().into_iter().collect();
    // `[acme]` is read only with `accept_terms = true`.
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let external = external(acme)?;
    let (account, credentials) = builder(acme)?
        .create(&new, acme.directory.clone(), external.as_ref())
        .await
        .map_err(|source| AcmeError::Account { directory: acme.directory.clone(), source })?;
    let kept = Kept { directory: acme.directory.clone(), credentials };
    let text = serde_json::to_string(&kept)
        .map_err(|error| AcmeError::file("write", path)(error.into()))?;
    whole_file::replace(path, &text, 0o600).map_err(AcmeError::file("write", path))?;
    info!("{}", say::new_account(&acme.directory));
    Ok(account)
}

fn kept(path: &PathBuf) -> Result<Option<Kept>, AcmeError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AcmeError::file("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| AcmeError::Content { path: path.clone(), why: error.to_string() })
}

fn builder(acme: &Acme) -> Result<AccountBuilder, AcmeError> {
    let built = match &acme.ca_certificate {
        Some(path) => Account::builder_with_root(path),
        None => Account::builder(),
    };
    built.map_err(|source| AcmeError::Authority { directory: acme.directory.clone(), source })
}

/// What ties the account to one that the operator has there already (RFC 8555 §7.3.4).
fn external(acme: &Acme) -> Result<Option<ExternalAccountKey>, AcmeError> {
    let Some(external) = &acme.external_account else { return Ok(None) };
    let path = &external.key_file;
    let text = fs::read_to_string(path).map_err(AcmeError::file("read", path))?;
    let key = BASE64_URL_SAFE_NO_PAD
        .decode(text.trim().trim_end_matches('='))
        .map_err(|error| AcmeError::Content { path: path.clone(), why: error.to_string() })?;
    Ok(Some(ExternalAccountKey::new(external.key_id.clone(), &key)))
}
