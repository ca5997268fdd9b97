//! `[acme.dns]` of the host's configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::refusal::Refusal;
use crate::HostName;

/// Who changes DNS for certificates (RFC 8555 §8.4). No key stands here: keys are credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcmeDns {
    /// `provider = "rfc2136"`: a name server that takes signed updates.
    Rfc2136(Rfc2136),
    /// `provider = "cloudflare"`: Cloudflare, over its API.
    Cloudflare(Cloudflare),
}

/// Cloudflare, which hosts zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloudflare {
    /// `zone`: the one zone that is changed; default each that the token sees.
    pub zone: Option<HostName>,
}

/// A name server that takes updates (RFC 2136) signed with TSIG (RFC 8945).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rfc2136 {
    /// `server`: an address, or an address and a port; default port 53.
    pub server: SocketAddr,
    /// `zone`: default what the server says.
    pub zone: Option<HostName>,
    /// `key_name`: as the server knows the key.
    pub key_name: HostName,
    /// `algorithm`: default `hmac-sha256`.
    pub algorithm: TsigAlgorithm,
}

/// How updates are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    #[default]
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl FromStr for TsigAlgorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "hmac-sha256" => Ok(Self::HmacSha256),
            "hmac-sha384" => Ok(Self::HmacSha384),
            "hmac-sha512" => Ok(Self::HmacSha512),
            _ => Err(()),
        }
    }
}

impl fmt::Display for TsigAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        })
    }
}

impl AcmeDns {
    /// The file below `/etc/kennel/acme` with the provider's key.
    #[must_use]
    pub fn credential(&self) -> &'static str {
        match self {
            Self::Rfc2136(_) => "tsig-key",
            Self::Cloudflare(_) => "cloudflare-token",
        }
    }
}

const DNS_PORT: u16 = 53;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAcmeDns {
    provider: Spanned<String>,
    server: Option<Spanned<String>>,
    zone: Option<Spanned<HostName>>,
    key_name: Option<Spanned<String>>,
    algorithm: Option<Spanned<String>>,
}

impl RawAcmeDns {
    pub(super) fn settle(self) -> Result<AcmeDns, Refusal> {
        match self.provider.get_ref().as_str() {
            "rfc2136" => self.rfc2136().map(AcmeDns::Rfc2136),
            "cloudflare" => self.cloudflare().map(AcmeDns::Cloudflare),
            _ => Err(Refusal::at(&self.provider, "it is none of `rfc2136`, `cloudflare`")),
        }
    }

    fn cloudflare(self) -> Result<Cloudflare, Refusal> {
        let others = [&self.server, &self.key_name, &self.algorithm];
        if let Some(key) = others.into_iter().flatten().next() {
            return Err(Refusal::at(key, "it is a key of `rfc2136`, and the provider is another")
                .help(
                    "remove it; Cloudflare's token is the file /etc/kennel/acme/cloudflare-token",
                ));
        }
        Ok(Cloudflare { zone: self.zone.map(Spanned::into_inner) })
    }

    fn rfc2136(self) -> Result<Rfc2136, Refusal> {
        let missing = |what: &str| {
            Refusal::at(&self.provider, format!("updates by RFC 2136 need `{what}` as well"))
        };
        let server = self.server.as_ref().ok_or_else(|| missing("server"))?;
        let key_name = self.key_name.as_ref().ok_or_else(|| missing("key_name"))?;
        let text = server.get_ref();
        let address = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT)));
        let server = address.map_err(|_| {
            Refusal::at(server, "it is not an address").help(
                "write `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:53`; a name would have \
                 to be looked up first",
            )
        })?;
        // Key names are often written with the final dot that they have in DNS.
        let name = key_name.get_ref().strip_suffix('.').unwrap_or(key_name.get_ref());
        let name = name.to_ascii_lowercase().parse().map_err(|error: crate::Invalid| {
            Refusal::at(key_name, error.to_string()).help("give the key a name like a host's")
        })?;
        let algorithm = match &self.algorithm {
            None => TsigAlgorithm::default(),
            Some(named) => named.get_ref().parse().map_err(|()| {
                Refusal::at(named, "it is none of `hmac-sha256`, `hmac-sha384`, `hmac-sha512`")
            })?,
        };
        let zone = self.zone.map(Spanned::into_inner);
        Ok(Rfc2136 { server, zone, key_name: name, algorithm })
    }
}
