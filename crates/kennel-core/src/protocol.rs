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
    /// The health path at which a service is asked in gRPC how it is ("GRPC Health Checking
    /// Protocol").
    pub const GRPC_CHECK: &str = "/grpc.health.v1.Health/Check";
    /// The question there, for the server as a whole: an empty message behind the head that every
    /// message has.
    pub const GRPC_QUESTION: [u8; 5] = [0; 5];
    /// The good answer: such a head, and the field `status` with the value `SERVING`.
    pub const GRPC_SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 1];

    /// Whether it is what nobody has to say. For serde's `skip_serializing_if`.
    #[must_use]
    pub fn is_http1(&self) -> bool {
        *self == Self::Http1
    }
}
