//! A TCP port that a deployment listens on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A TCP port on the loopback interface. Unprivileged: 1024 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(u16);

/// A port below 1024, which a service without privileges cannot bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("port {0} is below 1024, where services without privileges cannot listen")]
pub struct PrivilegedPort(pub u16);

impl Port {
    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Port {
    type Error = PrivilegedPort;

    fn try_from(port: u16) -> Result<Self, PrivilegedPort> {
        if port < 1024 { Err(PrivilegedPort(port)) } else { Ok(Self(port)) }
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
