//! A repository's own `kennel.toml`: what it wants built and served.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::addresses::RawAddresses;
use super::document::Document;
use super::refusal::{Refusal, whole_number};
use super::routes::{self, RawRoutes};
use super::{
    Addresses, BodySize, EnvName, EnvValue, FlakeOutput, HealthPath, Lifetime, Problem,
    ProgramPath, RateLimit, RequestLimits, ResourceRequest, Schedule, Strategy, seconds,
};
use crate::{HostPattern, Protocol, SecretName, ServiceName};

/// All outputs of a repository: at least one, at most 64, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `[services.<name>]`
    pub services: BTreeMap<ServiceName, ServiceManifest>,
    /// `[workers.<name>]`
    pub workers: BTreeMap<ServiceName, ProgramManifest>,
    /// `[timers.<name>]`
    pub timers: BTreeMap<ServiceName, TimerManifest>,
    /// `[static_sites.<name>]`
    pub static_sites: BTreeMap<ServiceName, SiteManifest>,
}

/// A program that listens on a port. As JSON: the same keys as in `kennel.toml`, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceManifest {
    /// What it has in common with workers.
    #[serde(flatten)]
    pub program: ProgramManifest,
    /// `health_check`: default `/health`.
    pub health_check: HealthPath,
    /// `health_check_timeout_secs`: how long a new deployment may take until it is healthy. 1 to
    /// 600 s, default 30 s.
    #[serde(rename = "health_check_timeout_secs", with = "seconds::health_check_timeout")]
    pub health_check_timeout: Duration,
    /// Where people reach it.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// `drain_secs`: 0 to 3600 s; none means the host's.
    #[serde(rename = "drain_secs", with = "seconds::drain")]
    pub drain: Option<Duration>,
    /// `strategy`: default `blue_green`.
    #[serde(default)]
    pub strategy: Strategy,
    /// `sleep_after`: how long nobody may use it until it is stopped, to be started by the next who
    /// does. None means as the operator says of previews.
    #[serde(default)]
    pub sleep_after: Option<Lifetime>,
    /// What it takes of requests.
    #[serde(flatten)]
    pub requests: RequestLimits,
    /// `protocol`: how the router and the health check speak to it. Default `http1`.
    #[serde(default, skip_serializing_if = "Protocol::is_http1")]
    pub protocol: Protocol,
}

/// A program that runs at its times and then ends. As JSON: the same keys as in `kennel.toml`, all of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerManifest {
    /// What it has in common with workers, but for a release program.
    #[serde(flatten)]
    pub program: ProgramManifest,
    /// `schedule`: when it runs.
    pub schedule: Schedule,
    /// `command`: which program runs; none means the one of the timer's name, or the only one.
    pub command: Option<ProgramPath>,
    /// `timeout_secs`: how long a run may take. 1 s to a day, default an hour.
    #[serde(rename = "timeout_secs", with = "seconds::timer_timeout")]
    pub timeout: Duration,
}

/// A program with its surroundings: of itself a worker, with a port a service, with a schedule a
/// timer. As JSON: the same keys as in `kennel.toml`, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramManifest {
    /// `flake_output`: default the service's, worker's or timer's name.
    pub flake_output: FlakeOutput,
    /// `preview_database`: whether it gets `VALKEY_URL` and `DATABASE_URL`, per branch. Default
    /// false.
    pub preview_database: bool,
    /// `env`: plain variables.
    pub env: BTreeMap<EnvName, EnvValue>,
    /// `secrets`: names of secrets, which become variables of the same names. No name twice, none
    /// of `env`.
    pub secrets: Vec<SecretName>,
    /// `credentials`: names of secrets, which become files of the same names in
    /// `$CREDENTIALS_DIRECTORY`. No name twice.
    #[serde(default)]
    pub credentials: Vec<SecretName>,
    /// `release`: a program that runs once before a new version takes over.
    #[serde(default)]
    pub release: Option<ProgramPath>,
    /// `release_timeout_secs`: how long that may take. 1 to 1800 s, default 300 s.
    #[serde(
        rename = "release_timeout_secs",
        with = "seconds::release_timeout",
        default = "seconds::default_release_timeout"
    )]
    pub release_timeout: Duration,
    /// `resources`: within the operator's limits.
    pub resources: ResourceRequest,
}

/// A folder of files. As JSON: the same keys as in `kennel.toml`, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteManifest {
    /// `flake_output`: default the site's name.
    pub flake_output: FlakeOutput,
    /// `spa`: whether navigations to unknown paths get `/index.html`. Default false.
    pub spa: bool,
    /// Where people reach it.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// `rate_limit`: how many requests one client may send in a time. Default any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

impl Manifest {
    /// The most of all kinds together.
    pub const MOST_OUTPUTS: usize = 64;

    /// What `text` says; `file` is how messages name it.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn parse(text: &str, file: &str) -> Result<Self, Problem> {
        Document::parse(file, text)?.settle(|raw: RawManifest| Self::try_from(raw))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[serde(default)]
    services: BTreeMap<Spanned<ServiceName>, RawService>,
    #[serde(default)]
    workers: BTreeMap<Spanned<ServiceName>, RawWorker>,
    #[serde(default)]
    timers: BTreeMap<Spanned<ServiceName>, RawTimer>,
    #[serde(default)]
    static_sites: BTreeMap<Spanned<ServiceName>, RawSite>,
    #[serde(default)]
    routes: RawRoutes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawService {
    flake_output: Option<FlakeOutput>,
    #[serde(default)]
    health_check: HealthPath,
    health_check_timeout_secs: Option<Spanned<i64>>,
    #[serde(default)]
    preview_database: bool,
    custom_domain: Option<Spanned<HostPattern>>,
    #[serde(default)]
    redirect_from: Vec<Spanned<HostPattern>>,
    #[serde(default)]
    env: BTreeMap<Spanned<EnvName>, EnvValue>,
    #[serde(default)]
    secrets: Vec<Spanned<SecretName>>,
    #[serde(default)]
    credentials: Vec<Spanned<SecretName>>,
    drain_secs: Option<Spanned<i64>>,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    strategy: Strategy,
    sleep_after: Option<Lifetime>,
    release: Option<ProgramPath>,
    release_timeout_secs: Option<Spanned<i64>>,
    #[serde(default)]
    resources: ResourceRequest,
    max_body: Option<BodySize>,
    max_requests: Option<Spanned<i64>>,
    rate_limit: Option<RateLimit>,
}

/// What stands in a worker's table: of a service's, all that has nothing to do with requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorker {
    flake_output: Option<FlakeOutput>,
    #[serde(default)]
    preview_database: bool,
    #[serde(default)]
    env: BTreeMap<Spanned<EnvName>, EnvValue>,
    #[serde(default)]
    secrets: Vec<Spanned<SecretName>>,
    #[serde(default)]
    credentials: Vec<Spanned<SecretName>>,
    release: Option<ProgramPath>,
    release_timeout_secs: Option<Spanned<i64>>,
    #[serde(default)]
    resources: ResourceRequest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimer {
    schedule: Schedule,
    command: Option<ProgramPath>,
    timeout_secs: Option<Spanned<i64>>,
    flake_output: Option<FlakeOutput>,
    #[serde(default)]
    preview_database: bool,
    #[serde(default)]
    env: BTreeMap<Spanned<EnvName>, EnvValue>,
    #[serde(default)]
    secrets: Vec<Spanned<SecretName>>,
    #[serde(default)]
    credentials: Vec<Spanned<SecretName>>,
    #[serde(default)]
    resources: ResourceRequest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSite {
    flake_output: Option<FlakeOutput>,
    #[serde(default)]
    spa: bool,
    custom_domain: Option<Spanned<HostPattern>>,
    #[serde(default)]
    redirect_from: Vec<Spanned<HostPattern>>,
    rate_limit: Option<RateLimit>,
}

impl TryFrom<RawManifest> for Manifest {
    type Error = Refusal;

    fn try_from(raw: RawManifest) -> Result<Self, Refusal> {
        let names = || {
            let programs = raw.services.keys().chain(raw.workers.keys());
            programs.chain(raw.timers.keys()).chain(raw.static_sites.keys())
        };
        if names().next().is_none() {
            return Err(Refusal {
                span: 0..0,
                message: "there is nothing to deploy".into(),
                help: Some(
                    "write [services.<name>], [workers.<name>], [timers.<name>] or \
                     [static_sites.<name>]"
                        .into(),
                ),
            });
        }
        if let Some(first_too_many) = names().nth(Self::MOST_OUTPUTS) {
            let most = Self::MOST_OUTPUTS;
            let message = format!("there are more than {most} services, workers, timers and sites");
            return Err(Refusal::at(first_too_many, message));
        }
        if let Some(twice) = repeated(names()) {
            let message = format!("`{}` is another's name already", twice.get_ref());
            return Err(Refusal::at(twice, message));
        }
        let of_services = raw.services.values().flat_map(RawService::domains);
        let of_sites = raw.static_sites.values().flat_map(RawSite::domains);
        if let Some(twice) = repeated(of_services.chain(of_sites)) {
            let message = format!("`{}` stands as a domain already", twice.get_ref());
            return Err(Refusal::at(twice, message));
        }
        let mut manifest = Self {
            services: settled(raw.services, RawService::settle)?,
            workers: settled(raw.workers, RawWorker::settle)?,
            timers: settled(raw.timers, RawTimer::settle)?,
            static_sites: settled(raw.static_sites, RawSite::settle)?,
        };
        manifest.route(raw.routes)?;
        Ok(manifest)
    }
}

impl Manifest {
    /// Gives `[routes]` to the service or site whose hosts they are about.
    fn route(&mut self, raw: RawRoutes) -> Result<(), Refusal> {
        let known = routes::Known {
            services: &self.services.keys().cloned().collect(),
            sites: &self.static_sites.keys().cloned().collect(),
            uncalled: &self.workers.keys().chain(self.timers.keys()).cloned().collect(),
        };
        let Some(routes) = routes::settle(raw, &known)? else { return Ok(()) };
        let service = self.services.get_mut(&routes.home).map(|it| &mut it.addresses);
        let site = self.static_sites.get_mut(&routes.home).map(|it| &mut it.addresses);
        if let Some(addresses) = service.or(site) {
            addresses.routes = routes.others;
        }
        Ok(())
    }
}

/// Each table by its name, which it may take for what it does not say.
fn settled<Raw, T>(
    raw: BTreeMap<Spanned<ServiceName>, Raw>,
    settle: impl Fn(Raw, &ServiceName) -> Result<T, Refusal>,
) -> Result<BTreeMap<ServiceName, T>, Refusal> {
    let one = |(name, raw): (Spanned<ServiceName>, Raw)| {
        let name = name.into_inner();
        let settled = settle(raw, &name)?;
        Ok((name, settled))
    };
    raw.into_iter().map(one).collect()
}

impl RawService {
    fn domains(&self) -> impl Iterator<Item = &Spanned<HostPattern>> {
        self.custom_domain.iter().chain(&self.redirect_from)
    }

    fn settle(self, name: &ServiceName) -> Result<ServiceManifest, Refusal> {
        let timeout = whole_number(
            self.health_check_timeout_secs.as_ref(),
            seconds::HEALTH_CHECK_TIMEOUT,
            30,
        )?;
        let drain =
            self.drain_secs.as_ref().map(|drain| whole_number(Some(drain), seconds::DRAIN, 0));
        let requests =
            RequestLimits::settle(self.max_body, self.max_requests.as_ref(), self.rate_limit)?;
        let program = RawWorker {
            flake_output: self.flake_output,
            preview_database: self.preview_database,
            env: self.env,
            secrets: self.secrets,
            credentials: self.credentials,
            release: self.release,
            release_timeout_secs: self.release_timeout_secs,
            resources: self.resources,
        };
        Ok(ServiceManifest {
            health_check: self.health_check,
            health_check_timeout: Duration::from_secs(timeout),
            addresses: RawAddresses {
                custom_domain: self.custom_domain,
                redirect_from: self.redirect_from,
            }
            .settle()?,
            drain: drain.transpose()?.map(Duration::from_secs),
            requests,
            protocol: self.protocol,
            strategy: self.strategy,
            sleep_after: self.sleep_after,
            program: program.settle(name)?,
        })
    }
}

impl RawWorker {
    fn settle(self, name: &ServiceName) -> Result<ProgramManifest, Refusal> {
        for names in [&self.secrets, &self.credentials] {
            if let Some(twice) = repeated(names.iter()) {
                let message = format!("`{}` stands in it twice", twice.get_ref());
                return Err(Refusal::at(twice, message));
            }
        }
        let is_in_env = |secret: &&Spanned<SecretName>| {
            self.env.keys().any(|name| name.get_ref().as_str() == secret.get_ref().as_str())
        };
        if let Some(twice) = self.secrets.iter().find(is_in_env) {
            let message = format!("`{}` stands in `env` already", twice.get_ref());
            return Err(Refusal::at(twice, message));
        }
        let variables = || {
            let plain = self.env.keys().map(|name| (name.span(), name.get_ref().as_str()));
            let secret = self.secrets.iter().map(|name| (name.span(), name.get_ref().as_str()));
            plain.chain(secret)
        };
        let of_database = |name: &str| ["VALKEY_URL", "DATABASE_URL"].contains(&name);
        if self.preview_database
            && let Some((span, taken)) = variables().find(|(_, name)| of_database(name))
        {
            let message = format!("`{taken}` is set by `preview_database`");
            return Err(Refusal { span, message, help: None });
        }
        if let Some((span, _)) = variables().nth(Self::MOST_VARIABLES) {
            let most = Self::MOST_VARIABLES;
            let message = format!("there are more than {most} variables and secrets");
            return Err(Refusal { span, message, help: None });
        }
        if let Some(first_too_many) = self.credentials.get(Self::MOST_CREDENTIALS) {
            let message = format!("there are more than {} credentials", Self::MOST_CREDENTIALS);
            return Err(Refusal::at(first_too_many, message));
        }
        let release_timeout = whole_number(
            self.release_timeout_secs.as_ref(),
            seconds::RELEASE_TIMEOUT,
            seconds::DEFAULT_RELEASE_TIMEOUT,
        )?;
        if let (None, Some(timeout)) = (&self.release, &self.release_timeout_secs) {
            let message = "there is no `release` that could take so long";
            return Err(Refusal::at(timeout, message));
        }
        Ok(ProgramManifest {
            flake_output: self.flake_output.unwrap_or_else(|| name.into()),
            preview_database: self.preview_database,
            env: self.env.into_iter().map(|(name, value)| (name.into_inner(), value)).collect(),
            secrets: self.secrets.into_iter().map(Spanned::into_inner).collect(),
            credentials: self.credentials.into_iter().map(Spanned::into_inner).collect(),
            release: self.release,
            release_timeout: Duration::from_secs(release_timeout),
            resources: self.resources,
        })
    }

    /// What one environment file holds at most, `env` and `secrets` together.
    const MOST_VARIABLES: usize = 256;

    /// systemd hands 1 MiB of credentials to a unit (systemd.exec(5), "LoadCredential="), and a
    /// secret has 32 KiB at most; with one less, their names fit as well.
    const MOST_CREDENTIALS: usize = 31;
}

impl RawTimer {
    fn settle(self, name: &ServiceName) -> Result<TimerManifest, Refusal> {
        let timeout = whole_number(self.timeout_secs.as_ref(), seconds::TIMER_TIMEOUT, 3600)?;
        let program = RawWorker {
            flake_output: self.flake_output,
            preview_database: self.preview_database,
            env: self.env,
            secrets: self.secrets,
            credentials: self.credentials,
            release: None,
            release_timeout_secs: None,
            resources: self.resources,
        };
        Ok(TimerManifest {
            program: program.settle(name)?,
            schedule: self.schedule,
            command: self.command,
            timeout: Duration::from_secs(timeout),
        })
    }
}

impl RawSite {
    fn domains(&self) -> impl Iterator<Item = &Spanned<HostPattern>> {
        self.custom_domain.iter().chain(&self.redirect_from)
    }

    fn settle(self, name: &ServiceName) -> Result<SiteManifest, Refusal> {
        Ok(SiteManifest {
            flake_output: self.flake_output.unwrap_or_else(|| name.into()),
            spa: self.spa,
            rate_limit: self.rate_limit,
            addresses: RawAddresses {
                custom_domain: self.custom_domain,
                redirect_from: self.redirect_from,
            }
            .settle()?,
        })
    }
}

/// The second of two that are the same.
fn repeated<'v, T: Ord + 'v>(
    mut values: impl Iterator<Item = &'v Spanned<T>>,
) -> Option<&'v Spanned<T>> {
    let mut seen = std::collections::BTreeSet::new();
    values.find(|value| !seen.insert(value.get_ref()))
}

#[cfg(test)]
mod tests;
