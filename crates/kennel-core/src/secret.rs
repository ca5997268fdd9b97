//! Secrets: their names, where they hold, and what a value may be.
//!
//! Apart from `config`, which anybody may read: here is the one type that must never be shown.
//! Nothing here prints a value, not even to say what is wrong with it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::EnvName;
use crate::newtype::text_newtype;
use crate::{Invalid, ProjectName};

/// A secret's name, which is that of the variable or credential that a service gets:
/// `[A-Z_][A-Z0-9_]*`, at most 100 bytes, and none that [`EnvName`] refuses.
///
/// No small letters: a secret is a file of its name, beside the directories `production` and
/// `preview`, and sealed ones end in `.cred`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    fn check(text: &str) -> Result<(), &'static str> {
        if !text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            return Err("only A-Z, 0-9 and `_` may stand in it");
        }
        EnvName::check(text)
    }
}

text_newtype!(SecretName, "name for a secret");

/// For which deployments of its project a secret holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretScope {
    /// For all that have none of their own.
    Both,
    /// For the default branch.
    Production,
    /// For every other branch and for pull requests.
    Preview,
}

impl SecretScope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Both, Self::Production, Self::Preview];

    /// The word in databases and in output for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.directory().unwrap_or("both")
    }

    /// The directory of its own below the project's; none for [`Self::Both`], whose secrets lie in
    /// the project's own.
    #[must_use]
    pub fn directory(self) -> Option<&'static str> {
        match self {
            Self::Both => None,
            Self::Production => Some("production"),
            Self::Preview => Some("preview"),
        }
    }

    /// What a sealed secret is bound to: under another name systemd does not open it, so that no
    /// file can be moved to another project, scope or secret. Fit for a file name, as systemd wants.
    #[must_use]
    pub fn seal(self, project: &ProjectName, name: &SecretName) -> String {
        format!("kennel.{project}.{}.{name}", self.as_str())
    }
}

impl FromStr for SecretScope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| Invalid::new("scope of a secret", text, "no scope has this name"))
    }
}

impl fmt::Display for SecretScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "production and previews",
            Self::Production => "production",
            Self::Preview => "previews",
        })
    }
}

/// A secret's value: any text but an empty one, without NUL, of at most 32 KiB, so that each can be
/// a variable as well as a credential. Newlines are allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

/// Why something is no secret's value. Says nothing of what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// There is nothing, or nothing but a newline.
    #[error("it is empty")]
    Empty,
    /// Linux hands a variable over up to its first NUL.
    #[error("it has a NUL byte, and variables cannot; encode it, with `base64` for example")]
    Nul,
    /// systemd drops variables of other bytes.
    #[error("it is not text in UTF-8; encode it, with `base64` for example")]
    NotText,
    /// Linux hands over 128 KiB in one variable, and less in all of them.
    #[error("it is longer than 32 KiB")]
    Long,
}

impl SecretValue {
    /// The most bytes of a value, the same as of a variable in `env`.
    pub const MAX_LEN: usize = 32 * 1024;

    /// What a file or standard input holds. The newline after a single line does not count, since
    /// editors and `echo` add one; several lines stay exactly as they are, since keys want theirs.
    ///
    /// # Errors
    /// [`BadSecret`]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BadSecret> {
        let mut text = String::from_utf8(bytes).map_err(|_| BadSecret::NotText)?;
        if text.ends_with('\n') && text.matches('\n').count() == 1 {
            text.pop();
        }
        if text.is_empty() {
            return Err(BadSecret::Empty);
        }
        if text.contains('\0') {
            return Err(BadSecret::Nul);
        }
        if text.len() > Self::MAX_LEN {
            return Err(BadSecret::Long);
        }
        Ok(Self(text))
    }

    /// The value, for whoever hands it over.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables_in_capitals() {
        for good in ["JWT_SECRET", "_A", "A1", "DATABASE_URL"] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        let refused = |text: &str| text.parse::<SecretName>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("jwt"), @"`jwt` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
        insta::assert_snapshot!(refused("../A"), @"`../A` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
        insta::assert_snapshot!(refused("A.cred"), @"`A.cred` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
        insta::assert_snapshot!(refused("A%n"), @"`A%n` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it");
        insta::assert_snapshot!(refused(""), @"`` is not a name for a secret: it has not 1 to 100 characters");
        insta::assert_snapshot!(refused("1A"), @"`1A` is not a name for a secret: it begins with a digit");
        insta::assert_snapshot!(refused("PORT"), @"`PORT` is not a name for a secret: Kennel sets it: the port to listen on");
        insta::assert_snapshot!(refused("KENNEL_URL"), @"`KENNEL_URL` is not a name for a secret: names that begin with KENNEL_ are Kennel's own");
        insta::assert_snapshot!(refused("LD_PRELOAD"), @"`LD_PRELOAD` is not a name for a secret: the dynamic loader reads it, and would run other code than was built");
        insta::assert_snapshot!(refused("CREDENTIALS_DIRECTORY"), @"`CREDENTIALS_DIRECTORY` is not a name for a secret: systemd sets it for the service");
    }

    #[test]
    fn a_value_arrives_as_it_was_meant() {
        let value = |bytes: &[u8]| SecretValue::from_bytes(bytes.to_vec());
        let text = |bytes: &[u8]| value(bytes).unwrap().reveal().to_owned();
        assert_eq!(text(b"hunter2\n"), "hunter2");
        assert_eq!(text(b"hunter2"), "hunter2");
        assert_eq!(text(b" a\tb\r\x1b "), " a\tb\r\x1b ");
        assert_eq!(text(b"-----BEGIN\nx\n-----END\n"), "-----BEGIN\nx\n-----END\n");
        assert_eq!(text(b"\n\n"), "\n\n");
        assert_eq!(value(b"").unwrap_err(), BadSecret::Empty);
        assert_eq!(value(b"\n").unwrap_err(), BadSecret::Empty);
        assert_eq!(value(b"a\0b").unwrap_err(), BadSecret::Nul);
        assert_eq!(value(b"\xff").unwrap_err(), BadSecret::NotText);
        assert_eq!(value(&[b'x'; SecretValue::MAX_LEN + 1]).unwrap_err(), BadSecret::Long);
        assert!(value(&[b'x'; SecretValue::MAX_LEN]).is_ok());
    }

    #[test]
    fn nothing_shows_a_value() {
        let value = SecretValue::from_bytes(b"hunter2".to_vec()).unwrap();
        assert_eq!(format!("{value:?}"), "SecretValue(..)");
    }

    #[test]
    fn each_secret_has_a_seal_of_its_own() {
        let seals: std::collections::BTreeSet<_> = SecretScope::ALL
            .into_iter()
            .map(|scope| scope.seal(&"shop".parse().unwrap(), &"A".parse().unwrap()))
            .collect();
        assert_eq!(seals.len(), 3);
        assert!(seals.contains("kennel.shop.both.A"), "{seals:?}");
    }
}
