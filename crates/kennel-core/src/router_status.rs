//! What the router says of itself on its status socket (`GET /status`).

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The router's state, as JSON.
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
