//! A length of time as people write it.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::Invalid;

/// `45s`, `20m`, `3h`, `7d`, `2w` or several, largest first: `1h30m`. At least a second, at most
/// 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Period(pub(super) Duration);

/// Seconds per unit, largest first.
const UNITS: [(char, u64); 5] =
    [('w', 7 * 24 * 3600), ('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

const LONGEST: u64 = 3660 * 24 * 3600;

impl FromStr for Period {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |rule| Err(Invalid::new("length of time", text, rule));
        let mut seconds: u64 = 0;
        let mut rest = text;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let Some((number, after)) = rest.split_at_checked(digits) else {
                return refuse("write it like 45s, 20m, 1h30m or 7d");
            };
            let Some(unit) = after.chars().next() else {
                return refuse("its unit is missing: s, m, h, d or w");
            };
            // `find` goes on from the last unit, so that none comes twice or out of order.
            let Some((_, length)) = units.find(|(known, _)| *known == unit) else {
                return refuse("write it like 45s, 20m, 1h30m or 7d");
            };
            let Some(more) = number.parse().ok().and_then(|n: u64| n.checked_mul(*length)) else {
                return refuse("write it like 45s, 20m, 1h30m or 7d");
            };
            seconds = seconds.saturating_add(more);
            rest = after.get(1..).unwrap_or_default();
        }
        if seconds == 0 {
            return refuse("it is shorter than a second");
        }
        if seconds > LONGEST {
            return refuse("it is longer than ten years");
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl TryFrom<String> for Period {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}
