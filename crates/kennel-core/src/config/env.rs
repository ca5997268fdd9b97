//! Environment variables that a repository sets for its service.
//!
//! They reach the service through an environment file, which kennel-deploy quotes; the rules here
//! keep out what no quoting can carry and what would not be the repository's own business.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A variable's name: `[A-Za-z_][A-Za-z0-9_]*`, at most 100 bytes.
///
/// Refused are the names that Kennel sets (`PORT`, `KENNEL_…`), those with which systemd speaks to
/// a service (environment variables of systemd.exec(5): an env file would override them, and the
/// service would lose its readiness, sockets or directories), and those that make the dynamic
/// loader run other code than the build made (`LD_…`, `GLIBC_TUNABLES`). `PATH`, `HOME` and the
/// like are the service's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvName(String);

/// What systemd sets for a service, systemd.exec(5) "Environment Variables in Spawned Processes".
const OF_SYSTEMD: [&str; 21] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "EXIT_CODE",
    "EXIT_STATUS",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SERVICE_RESULT",
    "STATE_DIRECTORY",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

impl EnvName {
    /// Also the rule for secrets, which become variables.
    pub(crate) fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 100 {
            return Err("it has not 1 to 100 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("only a-z, A-Z, 0-9 and `_` may stand in it");
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("it begins with a digit");
        }
        if text == "PORT" {
            return Err("Kennel sets it: the port to listen on");
        }
        if text.starts_with("KENNEL_") {
            return Err("names that begin with KENNEL_ are Kennel's own");
        }
        if text.starts_with("LD_") || text == "GLIBC_TUNABLES" {
            return Err("the dynamic loader reads it, and would run other code than was built");
        }
        if text.starts_with("SYSTEMD_") || OF_SYSTEMD.contains(&text) {
            return Err("systemd sets it for the service");
        }
        Ok(())
    }
}

text_newtype!(EnvName, "name for an environment variable");

/// A variable's value: any text of at most 32 KiB without control characters but tab. `%`, quotes
/// and backslashes are allowed, since it never stands in a unit file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvValue(String);

impl EnvValue {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.len() > 32 * 1024 {
            return Err("it is longer than 32 KiB");
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err("it has a newline or another control character, which cannot be passed on");
        }
        Ok(())
    }
}

text_newtype!(EnvValue, "value for an environment variable");
