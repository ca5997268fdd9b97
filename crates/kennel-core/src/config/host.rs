//! The host: `/etc/kennel/config.toml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::acme::RawAcme;
use super::document::Document;
use super::path::AbsolutePath;
use super::period::Period;
use super::previews::RawPreviews;
use super::refusal::{Refusal, whole_number};
use super::router::RawRouter;
use super::tls::RawTls;
use super::{
    Acme, AddressRange, BodySize, CpuQuota, Lifetime, MemorySize, Previews, Problem, Resources,
    RouterConfig, seconds,
};
use crate::{HostName, HostPattern, Port, Tls};

/// What the operator decides for the whole host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// `base_domain`, the only key without a default: deployments are
    /// `<service>-<branch>.<project>.<base domain>`. At most 156 bytes, so that the longest of them
    /// is still a host name.
    pub base_domain: HostName,
    /// `control_host`: where webhooks arrive. Default `kennel.<base domain>`. Never two or more
    /// labels below the base domain, where projects have their hosts.
    pub control_host: HostName,
    /// `max_concurrent_builds`: 1 to 256, default 2.
    pub max_concurrent_builds: u32,
    /// `supersede_running`: whether a newer commit of a branch ends that branch's running build.
    /// Default true. (Queued ones it always ends.)
    pub supersede_running: bool,
    /// `unit_dir`: where deployments' units are written. Default `/etc/systemd/system`.
    pub unit_dir: PathBuf,
    /// `port_range = [first, last]`: ports for services on the loopback interface. Default 18000
    /// to 19999.
    pub port_range: PortRange,
    /// `drain_secs`: how long a replaced deployment may finish what it has begun. 0 to 3600 s,
    /// default 30 s. A service may ask for another time.
    pub drain: Duration,
    /// `keep_deployments`: how many deployments of one output are kept for a way back. 1 to 1000,
    /// default 5.
    pub keep_deployments: u32,
    /// `[expiry]`.
    pub expiry: Expiry,
    /// `[retention]`.
    pub retention: Retention,
    /// `[previews]`: who may look at them, and when they sleep, if a project says nothing else.
    pub previews: Previews,
    /// `[tls]`: `redirect`, default true; `hsts`, default none; `certificate` and `key`, in one file
    /// if `key` is missing, default none.
    pub tls: Tls,
    /// `[acme]`: where certificates are ordered; none without that table.
    pub acme: Option<Acme>,
    /// `[nix]`.
    pub nix: NixConfig,
    /// `[valkey]`; none without that table.
    pub valkey: Option<Valkey>,
    /// `[postgresql]`; none without that table.
    pub postgresql: Option<Postgresql>,
    /// `[forks]`: what pull requests from outside of the repository get.
    pub forks: Forks,
    /// `[limits]`: the most that a service gets, and what it gets if it asks for nothing. Default
    /// 2 GiB, 200%, 512 tasks.
    pub limits: Resources,
    /// `[limits]` `max_body`: the most bytes of a request's body that any service gets. Default no
    /// limit, since no body is ever held.
    pub max_body: BodySize,
    /// `[router]`.
    pub router: RouterConfig,
}

/// Ports from `first` to `last`, both included; at least two, since old and new run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: Port,
    /// The highest port.
    pub last: Port,
}

/// When branches without activity are torn down. Default branches never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// `after`: default 7 days.
    pub after: Lifetime,
}

/// How long what is over is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `logs`: rows of what has ended, and builds' logs with them. Default 30 days.
    pub logs: Duration,
}

/// What deployments of commits from outside of the repository get, whoever approved them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forks {
    /// `memory_max`, `cpu_quota`, `tasks_max`: as `[limits]`, and never more than those. Default
    /// 512 MiB, 100%, 128 tasks.
    pub limits: Resources,
    /// `allow_addresses`: what they reach of this host and of private networks. Default nothing.
    pub allow_addresses: Vec<AddressRange>,
}

/// How Nix builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NixConfig {
    /// `allow_import_from_derivation`: default true.
    pub allow_import_from_derivation: bool,
    /// `max_silent_time`: how long a builder may say nothing. Default 20 min.
    pub max_silent_time: Duration,
    /// `timeout`: how long a builder may take. Default 3 h.
    pub timeout: Duration,
}

/// The Valkey server for preview databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valkey {
    /// `url`: begins with `redis://`, `valkey://` or `unix://`. Services get it with their number.
    pub url: String,
    /// `databases`: numbers from 0 to one less than this are given away. 1 to 65536, default 16,
    /// as in the server's own configuration.
    pub databases: u32,
    /// `forks`: whether services of strangers get a number. Default false, since a number keeps
    /// nobody from the others.
    pub forks: bool,
}

/// The PostgreSQL server for preview databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgresql {
    /// `url`: begins with `postgresql://` or `postgres://`. As whom Kennel makes roles and
    /// databases; services get one of their own.
    pub url: String,
    /// `template`: the database of which each new one is a copy. Default PostgreSQL's `template1`.
    pub template: Option<String>,
}

impl HostConfig {
    /// The longest base domain: 253 bytes less the longest label, the longest project, two dots.
    const LONGEST_BASE: usize = 253 - HostName::MAX_LABEL - crate::ProjectName::MAX_LEN - 2;

    /// The most that a service gets, and what it gets if it asks for nothing.
    #[must_use]
    pub fn limits_of(&self, fork: bool) -> &Resources {
        if fork { &self.forks.limits } else { &self.limits }
    }

    /// What the certificate is ordered for that hosts get: with `[acme.dns]` all of a project share a
    /// wildcard. None for a wildcard without it, since that is proven in DNS alone.
    #[must_use]
    pub fn ordered_for(&self, hosts: &HostPattern) -> Option<HostPattern> {
        let has_dns = self.acme.as_ref().is_some_and(|acme| acme.dns.is_some());
        if matches!(hosts, HostPattern::Wildcard(_)) {
            return has_dns.then(|| hosts.clone());
        }
        let shared = hosts.wildcard_above().filter(|wildcard| {
            let domain = wildcard.domain().as_str();
            // The control host is never so deep, and custom domains are elsewhere.
            has_dns && domain.split_once('.').is_some_and(|(_, it)| it == self.base_domain.as_str())
        });
        Some(shared.unwrap_or_else(|| hosts.clone()))
    }

    /// What `text` says; `file` is how messages name it.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn parse(text: &str, file: &str) -> Result<Self, Problem> {
        Document::parse(file, text)?.settle(|raw: RawHost| Self::try_from(raw))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    base_domain: Spanned<HostName>,
    control_host: Option<Spanned<HostName>>,
    max_concurrent_builds: Option<Spanned<i64>>,
    supersede_running: Option<bool>,
    unit_dir: Option<AbsolutePath>,
    port_range: Option<Spanned<Vec<i64>>>,
    drain_secs: Option<Spanned<i64>>,
    keep_deployments: Option<Spanned<i64>>,
    #[serde(default)]
    expiry: RawExpiry,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    previews: RawPreviews,
    #[serde(default)]
    tls: RawTls,
    acme: Option<Spanned<RawAcme>>,
    #[serde(default)]
    nix: RawNix,
    valkey: Option<RawValkey>,
    postgresql: Option<RawPostgresql>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    forks: RawForks,
    #[serde(default)]
    router: RawRouter,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawExpiry {
    after: Option<Lifetime>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRetention {
    logs: Option<Period>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawNix {
    allow_import_from_derivation: Option<bool>,
    max_silent_time: Option<Period>,
    timeout: Option<Period>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValkey {
    url: Spanned<String>,
    databases: Option<Spanned<i64>>,
    #[serde(default)]
    forks: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPostgresql {
    url: Spanned<String>,
    template: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    memory_max: Option<MemorySize>,
    cpu_quota: Option<CpuQuota>,
    tasks_max: Option<Spanned<i64>>,
    max_body: Option<BodySize>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawForks {
    memory_max: Option<MemorySize>,
    cpu_quota: Option<CpuQuota>,
    tasks_max: Option<Spanned<i64>>,
    #[serde(default)]
    allow_addresses: Vec<AddressRange>,
}

impl RawLimits {
    fn settle(self, default: Resources) -> Result<Resources, Refusal> {
        let tasks = self.tasks_max.as_ref();
        Ok(Resources {
            memory_max: self.memory_max.unwrap_or(default.memory_max),
            cpu_quota: self.cpu_quota.unwrap_or(default.cpu_quota),
            tasks_max: whole_number(tasks, Resources::TASKS, default.tasks_max)?,
        })
    }
}

impl RawForks {
    fn settle(self, most: &Resources) -> Result<Forks, Refusal> {
        let Self { memory_max, cpu_quota, tasks_max, allow_addresses } = self;
        let limits = RawLimits { memory_max, cpu_quota, tasks_max, max_body: None };
        let limits = limits.settle(Resources::FORKS)?;
        Ok(Forks { limits: limits.at_most(most), allow_addresses })
    }
}

impl TryFrom<RawHost> for HostConfig {
    type Error = Refusal;

    fn try_from(raw: RawHost) -> Result<Self, Refusal> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let or = |period: Option<Period>, default| period.map_or(default, |period| period.0);
        if raw.base_domain.get_ref().as_str().len() > Self::LONGEST_BASE {
            let most = Self::LONGEST_BASE;
            let message = format!(
                "it is longer than {most} characters, which leaves no room for projects' hosts"
            );
            return Err(Refusal::at(&raw.base_domain, message));
        }
        let control_host = control_host(raw.control_host, raw.base_domain.get_ref())?;
        let max_body = raw.limits.max_body.unwrap_or(BodySize::UNLIMITED);
        let limits = raw.limits.settle(Resources::default())?;
        Ok(Self {
            forks: raw.forks.settle(&limits)?,
            limits,
            max_body,
            router: raw.router.settle()?,
            control_host,
            base_domain: raw.base_domain.into_inner(),
            max_concurrent_builds: whole_number(raw.max_concurrent_builds.as_ref(), 1..=256, 2)?,
            supersede_running: raw.supersede_running.unwrap_or(true),
            unit_dir: raw.unit_dir.map_or_else(|| "/etc/systemd/system".into(), PathBuf::from),
            port_range: PortRange::settle(raw.port_range.as_ref())?,
            drain: Duration::from_secs(whole_number(raw.drain_secs.as_ref(), seconds::DRAIN, 30)?),
            keep_deployments: whole_number(raw.keep_deployments.as_ref(), 1..=1000, 5)?,
            expiry: Expiry { after: raw.expiry.after.unwrap_or(Lifetime::Limited(7 * DAY)) },
            retention: Retention { logs: or(raw.retention.logs, 30 * DAY) },
            previews: raw.previews.settle()?,
            tls: raw.tls.settle()?,
            acme: raw.acme.map(RawAcme::settle).transpose()?,
            nix: NixConfig {
                allow_import_from_derivation: raw.nix.allow_import_from_derivation.unwrap_or(true),
                max_silent_time: or(raw.nix.max_silent_time, Duration::from_secs(20 * 60)),
                timeout: or(raw.nix.timeout, Duration::from_secs(3 * 3600)),
            },
            valkey: raw.valkey.map(RawValkey::settle).transpose()?,
            postgresql: raw.postgresql.map(RawPostgresql::settle).transpose()?,
        })
    }
}

fn control_host(named: Option<Spanned<HostName>>, base: &HostName) -> Result<HostName, Refusal> {
    let Some(named) = named else {
        // `kennel.` and at most LONGEST_BASE bytes: always a host name.
        return format!("kennel.{base}").parse().map_err(|error: crate::Invalid| Refusal {
            span: 0..0,
            message: error.to_string(),
            help: None,
        });
    };
    let below = named.get_ref().as_str().strip_suffix(base.as_str());
    let labels = below.map_or(0, |below| below.matches('.').count());
    if named.get_ref().is_within(base) && labels > 1 {
        let message = format!("`{}` lies where projects have their hosts", named.get_ref());
        return Err(Refusal::at(&named, message)
            .help(format!("use one more label than `{base}`, or a name outside of it")));
    }
    Ok(named.into_inner())
}

impl PortRange {
    fn settle(raw: Option<&Spanned<Vec<i64>>>) -> Result<Self, Refusal> {
        let pair = raw.map_or(&[18000, 19999][..], |raw| raw.get_ref().as_slice());
        let port = |number: i64| u16::try_from(number).ok().and_then(|n| Port::try_from(n).ok());
        if let [first, last] = *pair
            && let (Some(first), Some(last)) = (port(first), port(last))
            && first < last
        {
            return Ok(Self { first, last });
        }
        let message = "it is not `[first, last]` with two ports between 1024 and 65535, the first \
                       lower than the last";
        Err(Refusal { span: raw.map_or(0..0, Spanned::span), message: message.into(), help: None })
    }
}

impl RawValkey {
    fn settle(self) -> Result<Valkey, Refusal> {
        Ok(Valkey {
            url: server(self.url, &["redis://", "valkey://", "unix://"])?,
            databases: whole_number(self.databases.as_ref(), 1..=65536, 16)?,
            forks: self.forks,
        })
    }
}

impl RawPostgresql {
    fn settle(self) -> Result<Postgresql, Refusal> {
        let url = server(self.url, &["postgresql://", "postgres://"])?;
        let template = self.template.map(|template| {
            // PostgreSQL cuts longer names off, and then means another database.
            let is_name = (1..=63).contains(&template.get_ref().len());
            if is_name && !template.get_ref().chars().any(char::is_control) {
                return Ok(template.into_inner());
            }
            Err(Refusal::at(&template, "it is not the name of a database: 1 to 63 bytes"))
        });
        Ok(Postgresql { url, template: template.transpose()? })
    }
}

/// No scheme with TLS: both servers are on this host, where nobody else listens in.
fn server(url: Spanned<String>, schemes: &[&str]) -> Result<String, Refusal> {
    let known = schemes.iter().any(|scheme| url.get_ref().starts_with(scheme));
    let clean = !url.get_ref().chars().any(|c| c.is_control() || c.is_whitespace());
    if known && clean {
        return Ok(url.into_inner());
    }
    let schemes = schemes.join(", ");
    Err(Refusal::at(&url, format!("it does not begin with one of {schemes}, or has white space")))
}

#[cfg(test)]
mod tests;
