//! What the router says on its status socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, RouteOutput, Timestamp};

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

/// How the services are that the router looks after (`GET /health`), as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterHealth {
    /// Those that are routed and expected to answer.
    pub services: BTreeMap<DeploymentId, ServiceHealth>,
}

/// What the router has seen of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// Since when no request is passed to it; none while it serves.
    pub out_since: Option<Timestamp>,
    /// How many looks in a row have failed.
    pub strikes: u32,
    /// The last look; none before the first.
    pub last: Option<Look>,
}

/// One look at a service's health path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether the answer was 200.
    pub healthy: bool,
    /// What came of it, in words: `it answered 200`.
    pub answer: String,
}

/// What goes through the router, per service and site (`GET /traffic`), as JSON. Counted since it
/// started or since there is a route, whichever came later: two of these make a rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterTraffic {
    /// When the router started: what is counted begins anew with it.
    pub started_at: Timestamp,
    /// How long it runs, in microseconds of a clock that nobody sets.
    pub running_us: u64,
    /// The upper ends of the classes of durations, in microseconds; above the last is one more.
    pub bounds_us: Vec<u64>,
    /// By project, branch and service: those that somebody has asked for something, or that are
    /// unhealthy.
    pub routes: Vec<RouteTraffic>,
}

/// What went through one service's or site's routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTraffic {
    /// Whose they are.
    pub output: RouteOutput,
    /// Answers by the first digit of their status, 1 to 5.
    pub answers: [u64; 5],
    /// Requests that are being answered, and open tunnels.
    pub in_flight: u64,
    /// Bytes of requests' bodies.
    pub received_bytes: u64,
    /// Bytes of answers' bodies.
    pub sent_bytes: u64,
    /// How many answers took so long, one number per class of durations.
    pub took: Vec<u64>,
    /// Whether it serves; none if nobody looks after its health.
    pub healthy: Option<bool>,
}

/// What is under way to each deployment that is counted (`GET /in-use`), as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// Since when the router runs: before, it knows of no use.
    pub since: Timestamp,
    /// All that are counted, in use or not.
    pub deployments: BTreeMap<DeploymentId, Use>,
}

/// What is under way to one deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Requests whose answers have not ended.
    pub requests: u64,
    /// Upgraded connections, such as WebSockets.
    pub tunnels: u64,
    /// Requests that wait until it, or the version after it, can be asked.
    pub waiting: u64,
}
