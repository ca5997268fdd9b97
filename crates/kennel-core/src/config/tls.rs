//! `[tls]` of the host's configuration.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::path::AbsolutePath;
use super::period::Period;
use super::refusal::Refusal;
use crate::{Tls, TlsFiles};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    redirect: Option<bool>,
    hsts: Option<Period>,
    certificate: Option<AbsolutePath>,
    key: Option<Spanned<AbsolutePath>>,
}

impl RawTls {
    pub(super) fn settle(self) -> Result<Tls, Refusal> {
        if let (None, Some(key)) = (&self.certificate, &self.key) {
            return Err(Refusal::at(key, "a key is of no use without its certificate")
                .help("name the file with `certificate = \"/path/fullchain.pem\"`"));
        }
        let certificates = self.certificate.map(|certificate| {
            let certificate = PathBuf::from(certificate);
            let key = self.key.map(|key| PathBuf::from(key.into_inner()));
            TlsFiles { key: key.unwrap_or_else(|| certificate.clone()), certificate }
        });
        let default = Tls::default();
        Ok(Tls {
            redirect: self.redirect.unwrap_or(default.redirect),
            hsts_secs: self.hsts.map(|hsts| hsts.0.as_secs()),
            certificates: certificates.into_iter().collect(),
        })
    }
}
