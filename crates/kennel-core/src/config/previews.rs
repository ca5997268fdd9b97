//! `[previews]` and `[access]`: who may look at what is deployed, and when previews sleep.

use serde::Deserialize;
use toml::Spanned;

use super::refusal::Refusal;
use super::{AddressRange, Lifetime, PasswordHash};

/// Who may look at previews: at what branches but the default one, and pull requests, deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Previews {
    /// `password`: the hash of the password that is asked for; `none` asks for none, whatever the
    /// host's default is. No value: the host's default, and there nobody is asked.
    pub password: Option<PreviewPassword>,
    /// `allow_from`: the addresses that may come in. No value: the host's default, and there all.
    pub allow_from: Option<Vec<AddressRange>>,
    /// `sleep_after`: how long nobody may use a service until it is stopped, to be started by the
    /// next who does. No value: the host's default, and there never.
    pub sleep_after: Option<Lifetime>,
}

/// Whether previews ask for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreviewPassword {
    /// They do not.
    None,
    /// They ask for the one with this hash.
    Hash(PasswordHash),
}

impl Previews {
    /// Whether they ask for a password, and for which.
    pub(super) fn hash(&self) -> Option<&PasswordHash> {
        match self.password.as_ref()? {
            PreviewPassword::None => None,
            PreviewPassword::Hash(hash) => Some(hash),
        }
    }
}

/// As the host and as a project has it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPreviews {
    password: Option<Spanned<String>>,
    allow_from: Option<Spanned<Vec<AddressRange>>>,
    sleep_after: Option<Lifetime>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    allow_from: Option<Spanned<Vec<AddressRange>>>,
}

impl RawPreviews {
    pub(super) fn settle(self) -> Result<Previews, Refusal> {
        Ok(Previews {
            password: self.password.as_ref().map(password).transpose()?,
            allow_from: allow_from(self.allow_from)?,
            sleep_after: self.sleep_after,
        })
    }
}

impl RawAccess {
    pub(super) fn settle(self) -> Result<Option<Vec<AddressRange>>, Refusal> {
        allow_from(self.allow_from)
    }
}

fn password(raw: &Spanned<String>) -> Result<PreviewPassword, Refusal> {
    if raw.get_ref() == "none" {
        return Ok(PreviewPassword::None);
    }
    // Whatever stands there is not repeated: it may be the password.
    let hash = raw.get_ref().parse();
    hash.map(PreviewPassword::Hash).map_err(|error: super::NoPasswordHash| {
        Refusal::at(raw, error.to_string())
            .help("`kennelctl password-hash` makes the line of a password; `none` asks for none")
    })
}

fn allow_from(
    raw: Option<Spanned<Vec<AddressRange>>>,
) -> Result<Option<Vec<AddressRange>>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.get_ref().is_empty() {
        return Err(Refusal::at(&raw, "it lets nobody in")
            .help("name addresses and networks, or leave the key out to let everybody in"));
    }
    Ok(Some(raw.into_inner()))
}
