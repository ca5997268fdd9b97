//! What a service takes of requests.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::refusal::{Refusal, whole_number};
use super::{BodySize, RateLimit};

/// Bounds of the requests to one service; none where it leaves the host's as they are. As JSON: the
/// same keys as in `kennel.toml`, and those alone that say something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLimits {
    /// `max_body`: the most bytes of a request's body, within the operator's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<BodySize>,
    /// `max_requests`: how many may be under way at a time. 1 to 20,000, default 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// `rate_limit`: how many one client may send in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

impl RequestLimits {
    /// How many requests to one service may be under way where nobody says: what a crowd that comes at
    /// once has, and a fifth of what the router has places for.
    pub const MAX_REQUESTS: u32 = 4096;

    /// What `max_requests` may be; the end is how many clients the router has at most.
    const REQUESTS: RangeInclusive<u32> = 1..=20_000;

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same, with no larger bodies than the operator lets in.
    #[must_use]
    pub fn within(self, operator: BodySize) -> Self {
        let max_body = self.max_body.unwrap_or(operator).min(operator);
        Self { max_body: max_body.bytes().map(|_| max_body), ..self }
    }

    pub(super) fn settle(
        max_body: Option<BodySize>,
        max_requests: Option<&Spanned<i64>>,
        rate_limit: Option<RateLimit>,
    ) -> Result<Self, Refusal> {
        let checked = |raw| whole_number(Some(raw), Self::REQUESTS, Self::MAX_REQUESTS);
        Ok(Self { max_body, max_requests: max_requests.map(checked).transpose()?, rate_limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_limit_holds() {
        let within = |asked: Option<&str>, operator: &str| {
            let max_body = asked.map(|asked| asked.parse().unwrap());
            let limits = RequestLimits { max_body, ..RequestLimits::default() };
            limits.within(operator.parse().unwrap()).max_body.map(|size| size.to_string())
        };
        assert_eq!(within(None, "unlimited"), None);
        assert_eq!(within(Some("10"), "unlimited").as_deref(), Some("10"));
        assert_eq!(within(Some("10"), "20").as_deref(), Some("10"));
        assert_eq!(within(Some("30"), "20").as_deref(), Some("20"));
        assert_eq!(within(None, "20").as_deref(), Some("20"));
        assert_eq!(within(Some("unlimited"), "unlimited"), None);
    }
}
