//! Who may come in to a route, as kennel-deploy says and kennel-router sees to.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{AddressRange, PasswordHash};
use crate::newtype::text_newtype;
use crate::{Invalid, ProjectName};

/// What stands before a route. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Nobody gets further than the page that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Notice>,
    /// Lists of addresses: who comes in is in each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<Vec<AddressRange>>,
    /// The password that is asked for, which [`Logins`] has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginId>,
}

impl Guard {
    /// Whether everybody may come in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// What visitors of something under maintenance are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The operator's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<NoticeText>,
    /// How soon to come again, in seconds.
    pub retry_after_secs: u32,
}

/// What an operator has to say to visitors: one line of 1 to 500 characters, without control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoticeText(String);

impl NoticeText {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.trim().is_empty() || text.chars().count() > 500 {
            return Err("it has not 1 to 500 characters");
        }
        if text.chars().any(char::is_control) {
            return Err("it is not one line, or has control characters");
        }
        Ok(())
    }
}

text_newtype!(NoticeText, "message");

/// Which entry of [`Logins`] a route means: 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LoginId(String);

impl LoginId {
    fn check(text: &str) -> Result<(), &'static str> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 32 && text.bytes().all(is_digit) {
            Ok(())
        } else {
            Err("it is not 32 hex digits")
        }
    }
}

text_newtype!(LoginId, "login's number");

/// The passwords that routes ask for: a file of its own beside the route table, since everybody may
/// read that one, and whoever knows a key makes sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Logins(pub BTreeMap<LoginId, Login>);

/// One password, for one project.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Whose previews ask for it.
    pub project: ProjectName,
    /// Its hash.
    pub password: PasswordHash,
    /// What sessions are signed with. With another password it is another key, so that they end.
    pub key: SessionKey,
}

/// 256 random bits, in hex.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey(String);

impl SessionKey {
    /// The digits.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SessionKey {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text))
        } else {
            Err(Invalid::new("key", "…", "it is not 64 hex digits"))
        }
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        key.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("project", &self.project).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_door_takes_no_place() {
        assert!(Guard::default().is_open());
        assert_eq!(serde_json::to_string(&Guard::default()).unwrap(), "{}");
        let notice = Notice { message: Some("back at six".parse().unwrap()), retry_after_secs: 60 };
        let guard = Guard {
            maintenance: Some(notice),
            allow_from: vec![vec!["10.0.0.0/8".parse().unwrap()]],
            login: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
        };
        let text = serde_json::to_string(&guard).unwrap();
        insta::assert_snapshot!(text, @r#"{"maintenance":{"message":"back at six","retry_after_secs":60},"allow_from":[["10.0.0.0/8"]],"login":"0123456789abcdef0123456789abcdef"}"#);
        assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), guard);
    }

    #[test]
    fn a_notice_is_one_line() {
        for bad in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(501)] {
            assert!(bad.parse::<NoticeText>().is_err(), "{bad:?}");
        }
        assert!("Wartung bis 18 Uhr – <b>danke</b>".parse::<NoticeText>().is_ok());
    }

    #[test]
    fn keys_are_not_shown() {
        let key = SessionKey::try_from("ab".repeat(32)).unwrap();
        let text = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
        let project = "shop".parse().unwrap();
        let login = Login { project, password: text.parse().unwrap(), key };
        let shown = format!("{login:?} {:?}", login.key);
        assert!(!shown.contains("abab") && !shown.contains("argon2"), "{shown}");
    }
}
