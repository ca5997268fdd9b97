//! What the router says on its status socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, Timestamp};

/// The router's state (`GET /status`), as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The generation of the table in force; none before the first one.
    pub generation: Option<u64>,
    /// Since when it is in force.
    pub loaded_at: Option<Timestamp>,
    /// How many hosts it has.
    pub hosts: usize,
    /// Why the last table on disk was refused, if it was.
    pub refused: Option<String>,
    /// Connections open to clients now.
    pub connections: u64,
    /// Requests answered since the start.
    pub requests: u64,
}

/// When somebody last asked for something of each deployment that is routed, since the router
/// started (`GET /last-use`), as JSON. A deployment that takes over a host takes this over too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    /// Those of which something was asked at all.
    pub deployments: BTreeMap<DeploymentId, Timestamp>,
}
