//! The part of [`crate::fuzzing`] that is about static sites.
#![allow(clippy::unwrap_used, reason = "a panic is the finding")]

use hyper::{HeaderMap, StatusCode};
use kennel_core::SiteRules;

use crate::fuzzing::headers;
use crate::site::coding::{Coding, Wishes};
use crate::site::condition::{self, Answer};
use crate::site::path::{decode, has_extension};
use crate::site::rules::Rules;

/// The tag of the file that conditions are about.
const TAG: &[u8] = b"\"0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l\"";

/// A path of a request.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _has_extension = has_extension(text);
    let Ok(key) = decode(text) else { return };
    assert!(key.split('/').all(|part| part != ".." && part != "."), "{key:?}");
    assert!(key.chars().all(|c| c != '\\' && !c.is_ascii_control()), "{key:?}");
}

/// Fields of a request that say which part of a file is wanted, in which coding, and on what condition.
/// The first byte is the file's length.
pub fn conditions(data: &[u8]) {
    let headers = headers(data);
    let len = data.first().copied().map_or(0, u64::from);
    if let Answer::Part(from, to) = condition::decide(&headers, TAG, len) {
        assert!(from <= to && to < len, "{from}-{to} of {len}");
    }
    let wishes = Wishes::of(&headers);
    for coding in Coding::ALL {
        assert!(wishes.weight(coding) <= 1000, "{headers:?}");
    }
}

/// A path, a line's end, and a site's `_redirects` and `_headers`.
pub fn rules(data: &[u8]) {
    let (path, text) = data.split_at(data.iter().position(|&b| b == b'\n').unwrap_or(0));
    let Ok(key) = std::str::from_utf8(path) else { return };
    for file in [SiteRules::REDIRECTS, SiteRules::HEADERS] {
        let mut read = SiteRules::default();
        let _problems = read.read(file, text).unwrap();
        let Some(rules) = Rules::new(read) else { continue };
        let _turn = rules.before(key).or_else(|| rules.instead(key));
        rules.describe(key, StatusCode::OK, &mut HeaderMap::new());
    }
}
