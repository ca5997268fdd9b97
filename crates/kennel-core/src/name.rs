//! Names that people give (projects, services) and the user name made of them.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A project: one repository, one webhook, one `projects.d/<name>.toml`.
///
/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 32 bytes, and none of the words that Kennel's own
/// units, slices and users are named after.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

/// Words that would make a project's units, slices or users meet Kennel's own
/// (`kennel-build@.service`, `kennel-router.slice`, user `kennel-webhook`, `kennel-state` …).
const RESERVED: [&str; 24] = [
    "acme", "api", "bell", "build", "builds", "control", "deploy", "dispatch", "dns", "inbox",
    "job", "jobs", "kennel", "poll", "report", "restore", "router", "state", "status", "sweep",
    "system", "teardown", "webhook", "www",
];

impl ProjectName {
    /// The most bytes a project's name has.
    pub const MAX_LEN: usize = 32;

    fn check(text: &str) -> Result<(), &'static str> {
        check_label(text)?;
        if text.len() > Self::MAX_LEN {
            return Err("it is longer than 32 characters");
        }
        if RESERVED.contains(&text) {
            return Err("it is reserved, because Kennel's own units and users are named so");
        }
        Ok(())
    }
}

text_newtype!(ProjectName, "project name");

/// A service or a static site, as `kennel.toml` names it.
///
/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 40 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The most bytes a service's name has.
    pub const MAX_LEN: usize = 40;

    fn check(text: &str) -> Result<(), &'static str> {
        check_label(text)?;
        if text.len() > Self::MAX_LEN {
            return Err("it is longer than 40 characters");
        }
        Ok(())
    }
}

text_newtype!(ServiceName, "service name");

/// The system user of a deployed service, which also names its state directory.
///
/// `kennel-[a-z0-9-]+`, at most 31 bytes: what systemd (`User=` with `DynamicUser=`) and utmp
/// accept everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The most bytes a user name has.
    pub const MAX_LEN: usize = 31;

    fn check(text: &str) -> Result<(), &'static str> {
        let Some(rest) = text.strip_prefix("kennel-") else {
            return Err("it does not begin with `kennel-`");
        };
        check_label(rest)?;
        if text.len() > Self::MAX_LEN {
            return Err("it is longer than 31 characters");
        }
        Ok(())
    }
}

text_newtype!(UserName, "user name");

/// The rule that all of Kennel's names share, and DNS labels too (RFC 1123 §2.1).
pub(crate) fn check_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("only a-z, 0-9 and `-` may stand in it");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it begins or ends with `-`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_a_dns_label_accepts() {
        for name in ["a", "site", "my-project-2", "0x", "a--b"] {
            assert_eq!(name.parse::<ProjectName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_with_the_rule_it_breaks() {
        let refused = |text: &str| text.parse::<ProjectName>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("a/b"), @"`a/b` is not a project name: only a-z, 0-9 and `-` may stand in it");
        insta::assert_snapshot!(refused(""), @"`` is not a project name: it is empty");
        insta::assert_snapshot!(refused("-a"), @"`-a` is not a project name: it begins or ends with `-`");
        insta::assert_snapshot!(refused(&"a".repeat(33)), @"`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is not a project name: it is longer than 32 characters");
        insta::assert_snapshot!(refused("router"), @"`router` is not a project name: it is reserved, because Kennel's own units and users are named so");
        insta::assert_snapshot!(refused("a\n%n"), @r"`a\n%n` is not a project name: only a-z, 0-9 and `-` may stand in it");
    }

    #[test]
    fn a_service_may_be_called_api() {
        assert!("api".parse::<ServiceName>().is_ok());
        assert!("a".repeat(40).parse::<ServiceName>().is_ok());
        assert!("a".repeat(41).parse::<ServiceName>().is_err());
    }

    #[test]
    fn serde_goes_through_the_same_door() {
        assert!(serde_json::from_str::<ProjectName>("\"site\"").is_ok());
        assert!(serde_json::from_str::<ProjectName>("\"Site\"").is_err());
    }
}
