//! Durations that stand as whole seconds in `kennel.toml` and in a settled manifest's JSON.
//!
//! The ranges are checked on the way out of the database too: kennel-deploy believes no row.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// `health_check_timeout_secs`
pub(super) const HEALTH_CHECK_TIMEOUT: RangeInclusive<u64> = 1..=600;

/// `release_timeout_secs`
pub(super) const RELEASE_TIMEOUT: RangeInclusive<u64> = 1..=1800;

/// What it is where nobody says, in `kennel.toml` and in rows that know of no release program.
pub(super) const DEFAULT_RELEASE_TIMEOUT: u64 = 300;

/// For serde's `default`.
pub(super) fn default_release_timeout() -> Duration {
    Duration::from_secs(DEFAULT_RELEASE_TIMEOUT)
}

/// A timer's `timeout_secs`
pub(super) const TIMER_TIMEOUT: RangeInclusive<u64> = 1..=86_400;

/// `drain_secs`, the host's and a service's
pub(super) const DRAIN: RangeInclusive<u64> = 0..=3600;

fn within<E: serde::de::Error>(range: &RangeInclusive<u64>, seconds: u64) -> Result<Duration, E> {
    if range.contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(E::custom(format!("{seconds} is not between {} and {}", range.start(), range.end())))
}

/// For serde's `with`.
pub(super) mod health_check_timeout {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_secs())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        within(&HEALTH_CHECK_TIMEOUT, u64::deserialize(from)?)
    }
}

/// For serde's `with`.
pub(super) mod release_timeout {
    pub(crate) use super::health_check_timeout::serialize;
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        within(&RELEASE_TIMEOUT, u64::deserialize(from)?)
    }
}

/// For serde's `with`.
pub(super) mod timer_timeout {
    pub(crate) use super::health_check_timeout::serialize;
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        within(&TIMER_TIMEOUT, u64::deserialize(from)?)
    }
}

/// For serde's `with`.
pub(super) mod drain {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_some(&span.as_secs()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(from)?.map(|seconds| within(&DRAIN, seconds)).transpose()
    }
}
