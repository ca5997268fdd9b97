//! A branch, exactly as git names it.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A branch's name without `refs/heads/`: whatever git allows (git-check-ref-format(1)), at most
/// 244 bytes. Not fit for unit files, paths or host names; [`crate::BranchSlug`] is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

impl Branch {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        // A file name has 255 bytes at most, and git adds `.lock` to it.
        if text.len() > 244 {
            return Err("it is longer than 244 bytes");
        }
        if text == "@" || text == "HEAD" {
            return Err("git gives this word another meaning");
        }
        if text.starts_with('-') {
            return Err("it begins with `-`");
        }
        if text.bytes().any(|b| b.is_ascii_control() || b" ~^:?*[\\".contains(&b)) {
            return Err("git allows no control characters, spaces or any of ~^:?*[\\ in it");
        }
        if text.contains("..") || text.contains("@{") || text.ends_with('.') {
            return Err("git allows no `..`, `@{` or final `.` in it");
        }
        for part in text.split('/') {
            if part.is_empty() {
                return Err("git allows no empty part between slashes");
            }
            let dotted = part.starts_with('.');
            // Git's own rule is about this exact spelling.
            #[allow(clippy::case_sensitive_file_extension_comparisons)]
            let locked = part.ends_with(".lock");
            if dotted || locked {
                return Err("git allows no part that begins with `.` or ends with `.lock`");
            }
        }
        Ok(())
    }
}

text_newtype!(Branch, "branch name");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_git_check_ref_format() {
        for good in ["main", "feature/X_y", "ünïcode", "a.b", "v1@2", "refs/heads/x", "a/b/c", "%n"]
        {
            assert!(good.parse::<Branch>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "@",
            "HEAD",
            "-x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a/b.lock/c",
            "a@{1}",
            "a.",
            "a\nb",
            "a\u{7f}",
        ] {
            assert!(bad.parse::<Branch>().is_err(), "{bad}");
        }
    }
}
