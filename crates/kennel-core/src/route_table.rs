//! The route table: what kennel-deploy publishes and kennel-router serves.
//!
//! The whole table is one JSON file, replaced whole. `generation` grows by one with each
//! publication, so that "the router has it" is a comparison of numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, HostName, Port, StorePath, Tls};

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
    /// Per host its path prefixes. The longest prefix that matches decides.
    pub hosts: BTreeMap<HostName, Vec<PathRoute>>,
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
        Self { version: Self::VERSION, generation, tls: Tls::default(), hosts: BTreeMap::new() }
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
    /// Who answers.
    pub target: Target,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_as_its_documentation_says() {
        let mut table = RouteTable::empty(7);
        table.hosts.insert(
            "api-main.site.example.com".parse().unwrap(),
            vec![PathRoute {
                prefix: "/".into(),
                strip: false,
                target: Target::Service {
                    deployment: DeploymentId::from_row(97),
                    port: Port::try_from(18000).unwrap(),
                    health_check: "/health".into(),
                    fork: false,
                },
            }],
        );
        let text = serde_json::to_string(&table).unwrap();
        insta::assert_snapshot!(text, @r#"{"version":1,"generation":7,"tls":{"redirect":true},"hosts":{"api-main.site.example.com":[{"prefix":"/","target":{"kind":"service","deployment":97,"port":18000,"health_check":"/health"}}]}}"#);
        assert_eq!(serde_json::from_str::<RouteTable>(&text).unwrap(), table);
    }

    #[test]
    fn another_format_is_refused_by_number() {
        let table = RouteTable { version: 2, ..RouteTable::empty(1) };
        insta::assert_snapshot!(table.check_version().unwrap_err(), @"the route table has format 2, and this program reads 1; install matching versions of kennel-router and kennel-deploy");
    }
}
