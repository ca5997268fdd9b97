//! Times as people and programs read them.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use kennel_core::Timestamp;
use kennel_core::config::Period;
use serde::Serializer;

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// A moment as people write it: a length of time ago, a day, or RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(period) = text.parse::<Period>() {
            return Ok(Self::Ago(period.0));
        }
        // The moment first: a day is read out of it as well.
        let day = |text: &str| {
            let day: jiff::civil::Date = text.parse().ok()?;
            Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        };
        text.parse()
            .ok()
            .or_else(|| day(text))
            .map(|moment: jiff::Timestamp| {
                Self::At(Timestamp::from_millis(moment.as_millisecond()))
            })
            .ok_or("neither a length such as 2h or 7d, nor a day such as 2026-11-01")
    }
}

impl Since {
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(length) => {
                let millis = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millis(now.millis().saturating_sub(millis))
            }
        }
    }
}

/// `just now`, `12 s ago`, `3 min ago`, `5 h ago`, `9 days ago`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..2 => "just now".to_owned(),
        _ => format!("{} ago", rough(seconds)),
    }
}

/// `in 12 s`, or `now` when it is over.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> String {
    match then.since(now).as_secs() {
        0 => "now".to_owned(),
        seconds => format!("in {}", rough(seconds)),
    }
}

/// How long something took: `0.4 s`, `12 s`, `3 min 4 s`, `1 h 5 min`.
pub(crate) fn took(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

fn rough(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", seconds / MINUTE),
        6000..172_800 => format!("{} h", seconds / HOUR),
        _ => format!("{} days", seconds / DAY),
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // Out of range is only what no clock says: more than 9,999 years from now.
    jiff::Timestamp::from_millisecond(time.millis())
        .map_or_else(|_| time.millis().to_string(), |time| format!("{time:.3}"))
}

/// For serde's `serialize_with`.
pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&rfc3339(*time))
}

/// For serde's `serialize_with`.
pub(crate) fn serialize_maybe<S: Serializer>(
    time: &Option<Timestamp>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_for_people() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let shown: Vec<_> = [0, 1, 2, 59, 99, 100, 5999, 6000, 172_799, 172_800, 864_000]
            .map(|seconds| ago(at(0), at(seconds)))
            .into();
        insta::assert_snapshot!(shown.join(", "), @"just now, just now, 2 s ago, 59 s ago, 99 s ago, 1 min ago, 99 min ago, 1 h ago, 47 h ago, 2 days ago, 10 days ago");
        assert_eq!(ago(at(10), at(0)), "just now");
        assert_eq!(until(at(12), at(0)), "in 12 s");
        assert_eq!(until(at(0), at(12)), "now");
        let shown: Vec<_> = [49, 9_999, 10_000, 61_000, 3_600_000, 90_061_000]
            .map(|ms| took(Duration::from_millis(ms)))
            .into();
        insta::assert_snapshot!(shown.join(", "), @"0.0 s, 9.9 s, 10 s, 1 min 1 s, 1 h 0 min, 25 h 1 min");
    }

    #[test]
    fn moments_as_people_write_them() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let before = |text: &str| text.parse::<Since>().map(|since| rfc3339(since.before(now)));
        assert_eq!(before("90s").unwrap(), "2025-12-31T23:58:30.000Z");
        assert_eq!(before("1h30m").unwrap(), "2025-12-31T22:30:00.000Z");
        assert_eq!(before("2025-11-01").unwrap(), "2025-11-01T00:00:00.000Z");
        assert_eq!(before("2025-11-01T12:00:00+01:00").unwrap(), "2025-11-01T11:00:00.000Z");
        assert!(before("yesterday").is_err());
        assert!(before("").is_err());
    }

    #[test]
    fn times_for_programs() {
        assert_eq!(rfc3339(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp::from_millis(1_767_225_600_250)), "2026-01-01T00:00:00.250Z");
        assert_eq!(rfc3339(Timestamp::from_millis(i64::MAX)), i64::MAX.to_string());
    }
}
