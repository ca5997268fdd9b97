//! Conditional and range requests (RFC 9110 §13 and §14).
//!
//! Pure: field values in, decision out. There are no dates, so a condition on a date never holds.

use hyper::HeaderMap;
use hyper::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

/// How much of a file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200, everything.
    Whole,
    /// 206, these bytes, both ends included.
    Part(u64, u64),
    /// 304, what the client has is still right.
    Unchanged,
    /// 412, the client wants what is no longer there.
    Changed,
    /// 416, there are no such bytes.
    NoSuchPart,
}

/// What to send of a file of `len` bytes with this `tag`.
pub(super) fn decide(headers: &HeaderMap, tag: &[u8], len: u64) -> Answer {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, tag) {
        return Answer::Changed;
    }
    if names(headers, &IF_NONE_MATCH, tag) {
        return Answer::Unchanged;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Answer::Whole };
    // Strong comparison: a weak tag, a date or an older tag all mean the whole file.
    if headers.get(IF_RANGE).is_some_and(|condition| condition.as_bytes() != tag) {
        return Answer::Whole;
    }
    part(range.as_bytes(), len)
}

/// Whether a list of tags names `tag`; `*` names everything. Weak comparison, which for tags that
/// are all strong differs only in accepting `W/` from caches that compressed.
fn names(headers: &HeaderMap, field: &hyper::header::HeaderName, tag: &[u8]) -> bool {
    headers.get_all(field).iter().any(|value| {
        // None of our tags contains a comma.
        value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii).any(|listed| {
            let weak = *field == IF_NONE_MATCH;
            let bare = listed.strip_prefix(b"W/").filter(|_| weak).unwrap_or(listed);
            bare == tag || listed == b"*"
        })
    })
}

/// One range of bytes. Several, or what is no range, are answered with the whole, as RFC 9110
/// §14.2 allows.
fn part(range: &[u8], len: u64) -> Answer {
    let parsed = std::str::from_utf8(range)
        .ok()
        .and_then(|range| range.trim().split_once('='))
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, spec)| spec.trim().split_once('-'));
    let Some((first, last)) = parsed else { return Answer::Whole };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => within(first, last, len),
        (Some(first), None) if last.is_empty() => within(first, u64::MAX, len),
        (None, Some(0)) if first.is_empty() => Answer::NoSuchPart,
        (None, Some(suffix)) if first.is_empty() => {
            within(len.saturating_sub(suffix), u64::MAX, len)
        }
        _ => Answer::Whole,
    }
}

fn within(first: u64, last: u64, len: u64) -> Answer {
    if first < len { Answer::Part(first, last.min(len - 1)) } else { Answer::NoSuchPart }
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would accept a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn decided(fields: &[(&'static str, &'static str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        decide(&headers, b"\"abc\"", 100)
    }

    #[test]
    fn ranges() {
        for (range, answer) in [
            ("bytes=0-9", Answer::Part(0, 9)),
            ("bytes=90-", Answer::Part(90, 99)),
            ("bytes=90-1000", Answer::Part(90, 99)),
            ("bytes=-10", Answer::Part(90, 99)),
            ("bytes=-1000", Answer::Part(0, 99)),
            ("BYTES=0-0", Answer::Part(0, 0)),
            ("bytes=100-", Answer::NoSuchPart),
            ("bytes=100-200", Answer::NoSuchPart),
            ("bytes=-0", Answer::NoSuchPart),
            ("bytes=9-0", Answer::Whole),
            ("bytes=0-1,5-6", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("lines=0-1", Answer::Whole),
            ("bytes=99999999999999999999-", Answer::Whole),
        ] {
            assert_eq!(decided(&[("range", range)]), answer, "{range}");
        }
        assert_eq!(decided(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]), Answer::Whole);
        assert_eq!(part(b"bytes=0-", 0), Answer::NoSuchPart);
    }

    #[test]
    fn conditions() {
        for (tag, answer) in [
            ("\"abc\"", Answer::Unchanged),
            ("W/\"abc\"", Answer::Unchanged),
            ("\"x\", \"abc\"", Answer::Unchanged),
            ("*", Answer::Unchanged),
            ("\"x\"", Answer::Whole),
            ("abc", Answer::Whole),
        ] {
            assert_eq!(decided(&[("if-none-match", tag)]), answer, "{tag}");
        }
        assert_eq!(decided(&[("if-match", "\"x\"")]), Answer::Changed);
        assert_eq!(decided(&[("if-match", "W/\"abc\"")]), Answer::Changed);
        assert_eq!(decided(&[("if-match", "\"abc\"")]), Answer::Whole);
        let with_range = |condition| decided(&[("range", "bytes=0-9"), ("if-range", condition)]);
        assert_eq!(with_range("\"abc\""), Answer::Part(0, 9));
        assert_eq!(with_range("W/\"abc\""), Answer::Whole);
        assert_eq!(with_range("Thu, 01 Jan 1970 00:00:01 GMT"), Answer::Whole);
        let both = [("range", "bytes=0-9"), ("if-none-match", "\"abc\"")];
        assert_eq!(decided(&both), Answer::Unchanged);
    }
}
