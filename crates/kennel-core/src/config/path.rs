//! A directory that the operator names.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Invalid;

/// An absolute path without `..`, control characters and `%` (which systemd would expand).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AbsolutePath(String);

impl AbsolutePath {
    fn check(text: &str) -> Result<(), &'static str> {
        if !text.starts_with('/') {
            return Err("it does not begin with `/`");
        }
        if text.len() > 1000 {
            return Err("it is longer than 1000 characters");
        }
        if text.chars().any(|c| c.is_control() || c == '%') {
            return Err("it has a control character or `%`");
        }
        if text.split('/').any(|part| part == ".." || part == ".") {
            return Err("it has a part `.` or `..`");
        }
        Ok(())
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match Self::check(&text) {
            Ok(()) => Ok(Self(text)),
            Err(rule) => Err(Invalid::new("full path", &text, rule)),
        }
    }
}

impl From<AbsolutePath> for PathBuf {
    fn from(path: AbsolutePath) -> Self {
        Self::from(path.0)
    }
}
