//! The beginning of a path, below which another service or site answers.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// `/`, or one or more segments: `/api` is for that path and all below, and not for `/apix`. At most
/// 200 bytes of what RFC 3986 §3.3 allows in a path, without percent-encoding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Whether it is for every path.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    fn check(text: &str) -> Result<(), &'static str> {
        let Some(segments) = text.strip_prefix('/') else {
            return Err("it does not begin with `/`");
        };
        if segments.is_empty() {
            return Ok(());
        }
        if text.len() > 200 {
            return Err("it is longer than 200 characters");
        }
        if segments.ends_with('/') {
            return Err("it ends with `/`: without, it is for the path itself and all below");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b)) {
            return Err("only a-z, A-Z, 0-9 and /-._~!$&'()*+,;=:@ may stand in it");
        }
        if segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("it has an empty segment, `.` or `..`");
        }
        Ok(())
    }
}

text_newtype!(PathPrefix, "path");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments() {
        for good in ["/", "/api", "/api/v2", "/@scope/~x"] {
            assert_eq!(good.parse::<PathPrefix>().unwrap().as_str(), good);
        }
        let said = |bad: &str| bad.parse::<PathPrefix>().unwrap_err().to_string();
        let all = ["", "api", "/api/", "//", "/a//b", "/a/../b", "/.", "/a b", "/a%20b", "/a?b"];
        insta::assert_snapshot!(all.map(said).join("\n"), @r"
        `` is not a path: it does not begin with `/`
        `api` is not a path: it does not begin with `/`
        `/api/` is not a path: it ends with `/`: without, it is for the path itself and all below
        `//` is not a path: it ends with `/`: without, it is for the path itself and all below
        `/a//b` is not a path: it has an empty segment, `.` or `..`
        `/a/../b` is not a path: it has an empty segment, `.` or `..`
        `/.` is not a path: it has an empty segment, `.` or `..`
        `/a b` is not a path: only a-z, A-Z, 0-9 and /-._~!$&'()*+,;=:@ may stand in it
        `/a%20b` is not a path: only a-z, A-Z, 0-9 and /-._~!$&'()*+,;=:@ may stand in it
        `/a?b` is not a path: only a-z, A-Z, 0-9 and /-._~!$&'()*+,;=:@ may stand in it
        ");
    }
}
