//! How many requests of one client are taken in a time.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Period;

/// `{ requests = 100, per = "1s", burst = 200 }`: a client gets `requests` in each `per` on and on, and
/// `burst` at once after a rest. As JSON: the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Settled")]
pub struct RateLimit {
    /// `requests`: 1 to 1,000,000.
    pub requests: u32,
    /// `per`: a second to a day, default a second.
    pub per: Duration,
    /// `burst`: 1 to 1,000,000, default `requests`.
    pub burst: u32,
}

/// How it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    requests: i64,
    per: Option<Period>,
    burst: Option<i64>,
}

#[derive(Serialize)]
struct Settled {
    requests: u32,
    per: String,
    burst: u32,
}

/// One of its numbers lies outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRateLimit {
    /// Of requests.
    #[error("`{key}` is {found}, and not between 1 and 1000000")]
    Requests {
        /// Which key.
        key: &'static str,
        /// What stood there.
        found: i64,
    },
    /// Of time.
    #[error("`per` is longer than a day")]
    Per,
}

const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl TryFrom<Written> for RateLimit {
    type Error = BadRateLimit;

    fn try_from(Written { requests, per, burst }: Written) -> Result<Self, BadRateLimit> {
        let count = |key, found: i64| match u32::try_from(found) {
            Ok(count) if REQUESTS.contains(&count) => Ok(count),
            Ok(_) | Err(_) => Err(BadRateLimit::Requests { key, found }),
        };
        let requests = count("requests", requests)?;
        let per = per.map_or(Duration::from_secs(1), |per| per.0);
        if per > LONGEST {
            return Err(BadRateLimit::Per);
        }
        let burst = burst.map_or(Ok(requests), |burst| count("burst", burst))?;
        Ok(Self { requests, per, burst })
    }
}

impl From<RateLimit> for Settled {
    fn from(RateLimit { requests, per, burst }: RateLimit) -> Self {
        Self { requests, per: Period(per).to_string(), burst }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<RateLimit, String> {
        #[derive(Debug, Deserialize)]
        struct Table {
            rate_limit: RateLimit,
        }
        let table: Result<Table, _> = toml::from_str(&format!("rate_limit = {toml}"));
        table.map(|table| table.rate_limit).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn one_number_is_enough_and_as_json_it_reads_back() {
        let json = |toml: &str| {
            let limit = parse(toml).unwrap();
            let json = serde_json::to_string(&limit).unwrap();
            assert_eq!(serde_json::from_str::<RateLimit>(&json).unwrap(), limit);
            json
        };
        insta::assert_snapshot!(json("{ requests = 10 }"), @r#"{"requests":10,"per":"1s","burst":10}"#);
        insta::assert_snapshot!(json(r#"{ requests = 100, per = "90m", burst = 200 }"#), @r#"{"requests":100,"per":"1h30m","burst":200}"#);
    }

    #[test]
    fn refusals() {
        let refused = |toml: &str| parse(toml).unwrap_err();
        insta::assert_snapshot!(refused("{ requests = 0 }"), @"`requests` is 0, and not between 1 and 1000000");
        insta::assert_snapshot!(refused("{ requests = 1, burst = -5 }"), @"`burst` is -5, and not between 1 and 1000000");
        insta::assert_snapshot!(refused(r#"{ requests = 1, per = "2d" }"#), @"`per` is longer than a day");
        insta::assert_snapshot!(refused(r#"{ requests = 1, per = "0s" }"#), @"`0s` is not a length of time: it is shorter than a second");
        insta::assert_snapshot!(refused("{ request = 1 }"), @"unknown field `request`, expected one of `requests`, `per`, `burst`");
        insta::assert_snapshot!(refused("{ burst = 1 }"), @"missing field `requests`");
    }
}
