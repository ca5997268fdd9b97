//! Whether a file's name changes with its contents.
//!
//! Build tools put a hash into the names of what pages refer to. Such a file never changes under
//! its name, so that a browser need not ask again. A wrong yes shows an old file for a year, and a
//! wrong no costs a request that is answered with 304: only what hardly is a word counts as a hash.

/// Whether the last part of a file's name before its ending is a hash.
pub(super) fn is_hashed(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    // `app.3f9c2a71.js.map` belongs to the script.
    let name = name.strip_suffix(".map").unwrap_or(name);
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    if matches!(ending, "html" | "htm") {
        return false;
    }
    let Some((_, last)) = stem.rsplit_once(['.', '-']) else { return false };
    is_hex(last) || (is_of_a_build(ending) && is_mixed(last))
}

/// What build tools make; a photo may have any name.
fn is_of_a_build(ending: &str) -> bool {
    matches!(ending, "js" | "mjs" | "css" | "wasm" | "woff2")
}

/// As webpack and Parcel write it. A date has no letter.
fn is_hex(text: &str) -> bool {
    text.len() >= 8
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// As Rollup (base 64) and esbuild (base 32) write it. The number of a version stands at the end,
/// and words begin with their capital.
fn is_mixed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let follows = |first: fn(&u8) -> bool, then: fn(&u8) -> bool| {
        bytes.windows(2).any(|pair| matches!(pair, [a, b] if first(a) && then(b)))
    };
    bytes.len() == 8
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && bytes.iter().any(u8::is_ascii_uppercase)
        && follows(u8::is_ascii_digit, u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        for name in [
            "assets/main.3f9c2a71.css",
            "static/js/main.8f2b1c9d.chunk.9e107d9d372bb682.js",
            "_next/static/chunks/main-0a1b2c3d4e5f6071.js",
            "assets/index-B4x9kQzA.js",
            "chunk-7KZ3Q2LM.js",
            "main.3f9c2a71.js.map",
            "assets/logo.3f9c2a71.png",
            "assets/font-D8k2Pq_x.woff2",
        ] {
            assert!(is_hashed(name), "{name}");
        }
    }

    #[test]
    fn words_dates_and_versions() {
        for name in [
            "index.html",
            "page.3f9c2a71.html",
            "app.js",
            "3f9c2a71.js",
            "report-20240131.pdf",
            "bundle-20240131.js",
            "jquery-3.7.1.min.js",
            "app-Version2.js",
            "my-document.js",
            "my-DOCUMENT.css",
            "trip-1stPlace.jpg",
            "deadbeef",
            "x-deadbeef.js",
            "a-3f9c2a7.js",
            "dir.3f9c2a71/app.js",
            "",
        ] {
            assert!(!is_hashed(name), "{name}");
        }
    }
}
