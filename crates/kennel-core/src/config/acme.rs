//! `[acme]` of the host's configuration.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::acme_dns::{AcmeDns, RawAcmeDns};
use super::path::AbsolutePath;
use super::refusal::Refusal;

/// The certificate authority that certificates are ordered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// `directory`: the address where it says what it offers. Default Let's Encrypt; with
    /// `staging = true` the one of theirs that browsers do not believe.
    pub directory: String,
    /// `email`: whom it writes to.
    pub email: Option<String>,
    /// `ca_certificate`: who vouches for the authority's own server, if the system does not know.
    pub ca_certificate: Option<PathBuf>,
    /// `external_account_id` and `external_account_key_file`: an account that the operator has
    /// there already.
    pub external_account: Option<ExternalAccount>,
    /// `[acme.dns]`: who proves names in DNS, so that a project needs one wildcard alone; none
    /// without that table.
    pub dns: Option<AcmeDns>,
}

/// What ties Kennel's account to the operator's (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its name.
    pub key_id: String,
    /// A file with its key, in base64url as the authority shows it.
    pub key_file: PathBuf,
}

const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAcme {
    accept_terms: Option<Spanned<bool>>,
    directory: Option<Spanned<String>>,
    staging: Option<Spanned<bool>>,
    email: Option<Spanned<String>>,
    ca_certificate: Option<AbsolutePath>,
    external_account_id: Option<Spanned<String>>,
    external_account_key_file: Option<Spanned<AbsolutePath>>,
    dns: Option<RawAcmeDns>,
}

impl RawAcme {
    /// What is missing in the table is missed where the table is.
    pub(super) fn settle(raw: Spanned<Self>) -> Result<Acme, Refusal> {
        const TERMS: &str =
            "certificate authorities have terms of service, and the account is yours";
        const HELP: &str = "read them, and write `accept_terms = true` in [acme]";
        let (span, raw) = (raw.span(), raw.into_inner());
        match &raw.accept_terms {
            Some(accepted) if *accepted.get_ref() => {}
            Some(refused) => return Err(Refusal::at(refused, TERMS).help(HELP)),
            None => {
                return Err(Refusal { span, message: TERMS.into(), help: Some(HELP.into()) });
            }
        }
        let staging = raw.staging.as_ref().is_some_and(|staging| *staging.get_ref());
        let directory = match raw.directory {
            Some(named) if staging => {
                return Err(Refusal::at(&named, "`staging` chooses another one")
                    .help("keep one of the two"));
            }
            Some(named) if !named.get_ref().starts_with("https://") => {
                return Err(Refusal::at(&named, "it does not begin with `https://`"));
            }
            Some(named) => named.into_inner(),
            None if staging => STAGING.to_owned(),
            None => PRODUCTION.to_owned(),
        };
        let email = raw.email.map(email).transpose()?;
        let external_account = match (raw.external_account_id, raw.external_account_key_file) {
            (Some(id), Some(file)) => Some(ExternalAccount {
                key_id: id.into_inner(),
                key_file: file.into_inner().into(),
            }),
            (None, None) => None,
            (Some(alone), None) => {
                return Err(Refusal::at(&alone, "it is of no use without its key")
                    .help("name the key's file with `external_account_key_file`"));
            }
            (None, Some(alone)) => {
                return Err(Refusal::at(&alone, "it is of no use without the account's name")
                    .help("write it as `external_account_id`"));
            }
        };
        Ok(Acme {
            directory,
            email,
            ca_certificate: raw.ca_certificate.map(PathBuf::from),
            external_account,
            dns: raw.dns.map(RawAcmeDns::settle).transpose()?,
        })
    }
}

fn email(raw: Spanned<String>) -> Result<String, Refusal> {
    let text = raw.get_ref();
    let is_one = text.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
    if is_one && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ",;:".contains(c))
    {
        return Ok(raw.into_inner());
    }
    Err(Refusal::at(&raw, "it is not one address like `ops@example.com`"))
}
