//! The route table: what kennel-deploy publishes and kennel-router serves.
//!
//! The whole table is one JSON file, replaced whole. `generation` grows by one with each
//! publication, so that "the router has it" is a comparison of numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{RequestLimits, RouterConfig};
use crate::{
    DeploymentId, Guard, HostName, HostPattern, OutputKey, Port, ProjectName, Protocol,
    ServiceName, StorePath, Tls,
};

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// The format; see [`RouteTable::VERSION`].
    pub version: u32,
    /// Which publication this is.
    pub generation: u64,
    /// How hosts are served over TLS.
    #[serde(default)]
    pub tls: Tls,
    /// What holds for all hosts.
    #[serde(default, skip_serializing_if = "RouterConfig::is_default")]
    pub router: RouterConfig,
    /// Per host its path prefixes. The longest prefix that matches decides, and a host of its own
    /// before a wildcard.
    pub hosts: BTreeMap<HostPattern, Vec<PathRoute>>,
}

/// The table is in a format that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the route table has format {found}, and this program reads {}; install matching versions of kennel-router and kennel-deploy",
    RouteTable::VERSION
)]
pub struct UnknownTableVersion {
    /// The format found.
    pub found: u32,
}

impl RouteTable {
    /// The format that this code reads and writes.
    pub const VERSION: u32 = 1;

    /// A table without routes.
    #[must_use]
    pub fn empty(generation: u64) -> Self {
        Self {
            version: Self::VERSION,
            generation,
            tls: Tls::default(),
            router: RouterConfig::default(),
            hosts: BTreeMap::new(),
        }
    }

    /// Whether this program understands the table.
    ///
    /// # Errors
    /// [`UnknownTableVersion`] if another version of Kennel wrote it.
    pub fn check_version(&self) -> Result<(), UnknownTableVersion> {
        if self.version == Self::VERSION {
            Ok(())
        } else {
            Err(UnknownTableVersion { found: self.version })
        }
    }
}

/// Where requests below a path go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRoute {
    /// The prefix: `/`, or `/webhook/` for that path and all below.
    pub prefix: String,
    /// Whether a service gets paths without the prefix.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip: bool,
    /// Whose it is; none for Kennel's own programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RouteOutput>,
    /// How much it takes.
    #[serde(default, skip_serializing_if = "RequestLimits::is_empty")]
    pub limits: RequestLimits,
    /// Who may come in.
    #[serde(default, skip_serializing_if = "Guard::is_open")]
    pub guard: Guard,
    /// Who answers.
    pub target: Target,
}

impl PathRoute {
    /// Of nobody in particular, within no limits of its own, and open to everybody.
    #[must_use]
    pub fn new(prefix: &str, target: Target) -> Self {
        let (limits, guard) = (RequestLimits::default(), Guard::default());
        Self { prefix: prefix.to_owned(), strip: false, output: None, limits, guard, target }
    }
}

/// Which service or site of which branch is behind a route, as people name it: for figures and
/// logs, never to decide anything by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteOutput {
    /// The project.
    pub project: ProjectName,
    /// The branch as git has it, or `pr-<number>`.
    pub branch: String,
    /// The service's or site's name in `kennel.toml`.
    pub service: ServiceName,
}

impl fmt::Display for RouteOutput {
    /// As people type it: `site/main/api`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.branch, self.service)
    }
}

impl From<&OutputKey> for RouteOutput {
    fn from(key: &OutputKey) -> Self {
        Self {
            project: key.project.clone(),
            branch: key.git_ref.short(),
            service: key.service.clone(),
        }
    }
}

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A deployed service on the loopback interface.
    Service {
        /// Connections are pooled by deployment, never by port: ports are used again.
        deployment: DeploymentId,
        /// Where it listens on 127.0.0.1.
        port: Port,
        /// The path that answers 200 while it is healthy.
        health_check: String,
        /// Whether it is a fork's, which answers only to who calls it so.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fork: bool,
        /// What it understands.
        #[serde(default, skip_serializing_if = "Protocol::is_http1")]
        protocol: Protocol,
        /// For how many seconds what the one before has begun may go on; none if nobody says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain_secs: Option<u64>,
        /// Whether its visitors wait at the router: it gives way to a version that it must not
        /// overlap with.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        held: bool,
        /// Whether the router counts what is under way to it, for whoever is to stop it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counted: bool,
        /// Where to ring for it when it does not listen: it may sleep. An absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wake: Option<String>,
    },
    /// A static site.
    Site {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// The folder that it serves.
        root: StorePath,
        /// Whether navigations to unknown paths get `/index.html`.
        spa: bool,
        /// For how many seconds the files of the one before stay in reach of pages that are open.
        #[serde(default)]
        drain_secs: u64,
    },
    /// Another host, to which visitors are sent for good.
    Redirect {
        /// Under the same path.
        to: HostName,
    },
    /// A service or site that is not deployed at the moment.
    Absent,
    /// One of Kennel's own programs behind a Unix socket.
    Socket {
        /// The socket's absolute path.
        path: String,
    },
}

impl Target {
    /// The deployment that answers; none if it is none that does.
    #[must_use]
    pub fn deployment(&self) -> Option<DeploymentId> {
        match self {
            Self::Service { deployment, .. } | Self::Site { deployment, .. } => Some(*deployment),
            Self::Redirect { .. } | Self::Absent | Self::Socket { .. } => None,
        }
    }

    /// How long what another deployment has begun may go on once this target is in its place; none
    /// if the table does not say.
    #[must_use]
    pub fn drain(&self) -> Option<Duration> {
        match self {
            Self::Service { drain_secs, .. } => drain_secs.map(Duration::from_secs),
            Self::Site { drain_secs, .. } => Some(Duration::from_secs(*drain_secs)),
            Self::Redirect { .. } | Self::Absent | Self::Socket { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_as_its_documentation_says() {
        let mut table = RouteTable::empty(7);
        table.hosts.insert(
            "api-main.site.example.com".parse().unwrap(),
            vec![PathRoute::new(
                "/",
                Target::Service {
                    deployment: DeploymentId::from_row(97),
                    port: Port::try_from(18000).unwrap(),
                    health_check: "/health".into(),
                    fork: false,
                    protocol: Protocol::H2c,
                    drain_secs: Some(30),
                    held: false,
                    counted: false,
                    wake: None,
                },
            )],
        );
        let text = serde_json::to_string(&table).unwrap();
        insta::assert_snapshot!(text, @r#"{"version":1,"generation":7,"tls":{"redirect":true},"hosts":{"api-main.site.example.com":[{"prefix":"/","target":{"kind":"service","deployment":97,"port":18000,"health_check":"/health","protocol":"h2c","drain_secs":30}}]}}"#);
        assert_eq!(serde_json::from_str::<RouteTable>(&text).unwrap(), table);
    }

    #[test]
    fn another_format_is_refused_by_number() {
        let table = RouteTable { version: 2, ..RouteTable::empty(1) };
        insta::assert_snapshot!(table.check_version().unwrap_err(), @"the route table has format 2, and this program reads 1; install matching versions of kennel-router and kennel-deploy");
    }
}
