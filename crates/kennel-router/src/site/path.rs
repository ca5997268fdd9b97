//! From a request's path to the key of the index.
//!
//! Decoded exactly once. Whatever could mean another file to another program is refused here and
//! does not reach the index.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path that is no place in any site.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPath;

/// The decoded path without its first slash: `docs/a b.html`, `docs/`, or nothing for `/`.
pub(crate) fn decode(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let path = path.strip_prefix('/').ok_or(BadPath)?;
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        let (_, from) = rest.split_at(at);
        let hex = from.get(1..3).ok_or(BadPath)?;
        if !hex.iter().all(u8::is_ascii_hexdigit) || hex.eq_ignore_ascii_case(b"2f") {
            return Err(BadPath);
        }
        rest = from.get(3..).unwrap_or_default();
    }
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| BadPath)?;
    if decoded.bytes().any(|b| b == b'\\' || b.is_ascii_control())
        || decoded.split('/').any(|part| part == "." || part == "..")
    {
        return Err(BadPath);
    }
    Ok(decoded)
}

/// Whether the last part of a path looks like a file's name: a script that is missing must not be
/// answered with a page.
pub(crate) fn has_extension(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_once() {
        for (path, key) in [
            ("/", ""),
            ("/a/b.html", "a/b.html"),
            ("/a%20b", "a b"),
            ("/%61", "a"),
            ("/a%2520b", "a%20b"),
            ("/%C3%BC", "ü"),
            ("/a/", "a/"),
            ("/...", "..."),
            ("//a", "/a"),
        ] {
            assert_eq!(decode(path).unwrap(), key, "{path}");
        }
    }

    #[test]
    fn no_way_out() {
        for path in [
            "",
            "*",
            "a",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/.",
            "/./a",
            "/%2e%2e/etc/passwd",
            "/%2E./x",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/%00",
            "/a%0d%0a",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/%c0%ae%c0%ae/",
        ] {
            assert_eq!(decode(path), Err(BadPath), "{path}");
        }
    }

    #[test]
    fn extensions() {
        assert!(has_extension("assets/app.js"));
        assert!(!has_extension("users/1.2/edit"));
        assert!(!has_extension("users"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_accepted_stays_inside(path in "/[a./%2eEfF5cC0\\\\]{0,12}") {
            if let Ok(key) = decode(&path) {
                let climbs = key.split('/').any(|part| part == "..");
                proptest::prop_assert!(!climbs && !key.contains(['\\', '\0']));
            }
        }
    }
}
