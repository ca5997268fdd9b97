//! What a service understands.

use serde::{Deserialize, Serialize};

/// How the router speaks to a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, begun without asking (RFC 9113 §3.3, "prior knowledge"), as gRPC wants
    /// it.
    H2c,
}

impl Protocol {
    /// Whether it is what nobody has to say. For serde's `skip_serializing_if`.
    #[must_use]
    pub fn is_http1(&self) -> bool {
        *self == Self::Http1
    }
}
