//! A length of time as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::Invalid;

/// `45s`, `20m`, `3h`, `7d`, `2w` or several, largest first: `1h30m`. At least a second, at most
/// 10 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(
    /// The length.
    pub Duration,
);

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

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        // Weeks are for who writes: most people count days.
        for (unit, length) in UNITS.into_iter().filter(|(unit, _)| *unit != 'w') {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Period {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_may_be_combined_largest_first() {
        let seconds = |text: &str| text.parse::<Period>().unwrap().0.as_secs();
        assert_eq!(seconds("45s"), 45);
        assert_eq!(seconds("20m"), 1200);
        assert_eq!(seconds("3h"), 3 * 3600);
        assert_eq!(seconds("7d"), 7 * 24 * 3600);
        assert_eq!(seconds("2w"), 14 * 24 * 3600);
        assert_eq!(seconds("1h30m"), 5400);
        assert_eq!(seconds("1w1d1h1m1s"), 694_861);
        assert_eq!(seconds("0h90s"), 90);
    }

    #[test]
    fn what_is_shown_can_be_written() {
        for (written, shown) in
            [("45s", "45s"), ("90m", "1h30m"), ("2w", "14d"), ("25h1s", "1d1h1s")]
        {
            let period: Period = written.parse().unwrap();
            assert_eq!(period.to_string(), shown);
            assert_eq!(shown.parse::<Period>().unwrap(), period);
        }
    }

    #[test]
    fn refusals() {
        let refused = |text: &str| text.parse::<Period>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("7 days"), @"`7 days` is not a length of time: write it like 45s, 20m, 1h30m or 7d");
        insta::assert_snapshot!(refused("90"), @"`90` is not a length of time: its unit is missing: s, m, h, d or w");
        insta::assert_snapshot!(refused("0s"), @"`0s` is not a length of time: it is shorter than a second");
        insta::assert_snapshot!(refused(""), @"`` is not a length of time: it is shorter than a second");
        insta::assert_snapshot!(refused("600w"), @"`600w` is not a length of time: it is longer than ten years");
        for odd in [
            "h",
            "-1h",
            "+1h",
            "1.5h",
            "30m1h",
            "1h1h",
            "1ms",
            "1H",
            "99999999999999999999s",
            "1hä",
            " 1h",
        ] {
            assert!(odd.parse::<Period>().is_err(), "{odd}");
        }
        // Overflow by multiplication and by addition.
        assert!("18446744073709551615w".parse::<Period>().is_err());
        assert!("1d18446744073709551615s".parse::<Period>().is_err());
    }
}
