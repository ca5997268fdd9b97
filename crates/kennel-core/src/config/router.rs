//! `[router]` of the host's configuration: whom the router believes, what it takes of one client, and
//! what it tells of a request.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::refusal::{Refusal, whole_number};
use super::{AddressRange, RateLimit};

/// What holds for all that the router serves. As JSON, in the route table: the same keys, and those
/// alone that differ from their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterConfig {
    /// `trusted_proxies`: who is believed when it says for whom it asks. Default nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<AddressRange>,
    /// `proxy_protocol`: whether their connections begin with a header of the PROXY protocol.
    /// Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// `connections_per_client`: how many one address may have open. 1 to 20,000; none means 256,
    /// and any number for programs on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_client: Option<u32>,
    /// `rate_limit`: how many requests of one client are taken in a time, whomever they are for.
    /// Default any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// `request_id`: whether each request has an `X-Request-Id`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub request_id: bool,
    /// `server_timing`: whether answers have `Server-Timing`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub server_timing: bool,
    /// `access_log`: which requests become entries of the journal. Default none.
    #[serde(skip_serializing_if = "AccessLog::is_off")]
    pub access_log: AccessLog,
    /// `access_log_sample`: of how many requests one is logged, with `sampled`. 1 to 1,000,000,
    /// default 100.
    #[serde(skip_serializing_if = "is_default_sample")]
    pub access_log_sample: u32,
    /// `access_log_query`: whether paths are logged with their query, which may have secrets in it.
    /// Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub access_log_query: bool,
}

/// Which requests become entries of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// None.
    #[default]
    Off,
    /// Those that were answered with 500 or more, or broken off by their service.
    Errors,
    /// Those, and one in `access_log_sample` of the others.
    Sampled,
    /// All.
    All,
}

impl AccessLog {
    /// What tells such entries apart from what the router says of itself: journalctl shows them alone
    /// with `MESSAGE_ID=` and this (sd-id128(3)).
    pub const MESSAGE_ID: &str = "8c3f4b0d6f5e4c0b9d0a7b61c2a4e97f";

    /// Whether nothing is logged.
    #[must_use]
    pub fn is_off(&self) -> bool {
        match self {
            Self::Off => true,
            Self::Errors | Self::Sampled | Self::All => false,
        }
    }
}

impl RouterConfig {
    /// How many connections an address may have open where nobody says: more than browsers behind
    /// one address translator need at a time.
    pub const CONNECTIONS_PER_CLIENT: u32 = 256;

    const SAMPLE: u32 = 100;

    /// Whether all is as it is without the table.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections_per_client: None,
            rate_limit: None,
            request_id: false,
            server_timing: false,
            access_log: AccessLog::Off,
            access_log_sample: Self::SAMPLE,
            access_log_query: false,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_default_sample(sample: &u32) -> bool {
    *sample == RouterConfig::SAMPLE
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRouter {
    #[serde(default)]
    trusted_proxies: Vec<AddressRange>,
    proxy_protocol: Option<Spanned<bool>>,
    connections_per_client: Option<Spanned<i64>>,
    rate_limit: Option<RateLimit>,
    request_id: Option<bool>,
    server_timing: Option<bool>,
    #[serde(default)]
    access_log: AccessLog,
    access_log_sample: Option<Spanned<i64>>,
    access_log_query: Option<bool>,
}

impl RawRouter {
    pub(super) fn settle(self) -> Result<RouterConfig, Refusal> {
        let default = RouterConfig::default();
        let proxy_protocol = self.proxy_protocol.as_ref().is_some_and(|it| *it.get_ref());
        if let Some(asked) = &self.proxy_protocol
            && proxy_protocol
            && self.trusted_proxies.is_empty()
        {
            return Err(Refusal::at(asked, "there is nobody whose word would count")
                .help("name the proxies with `trusted_proxies = [\"10.0.0.0/8\"]`"));
        }
        let connections = self.connections_per_client.as_ref();
        let connections =
            connections.map(|raw| whole_number(Some(raw), 1..=20_000, 1)).transpose()?;
        let sample = self.access_log_sample.as_ref();
        if let Some(sample) = sample
            && self.access_log != AccessLog::Sampled
        {
            return Err(Refusal::at(sample, "nothing is sampled")
                .help("write `access_log = \"sampled\"` too"));
        }
        Ok(RouterConfig {
            trusted_proxies: self.trusted_proxies,
            proxy_protocol,
            connections_per_client: connections,
            rate_limit: self.rate_limit,
            request_id: self.request_id.unwrap_or(default.request_id),
            server_timing: self.server_timing.unwrap_or(default.server_timing),
            access_log: self.access_log,
            access_log_sample: whole_number(sample, 1..=1_000_000, RouterConfig::SAMPLE)?,
            access_log_query: self.access_log_query.unwrap_or(default.access_log_query),
        })
    }
}
