//! A command of the host, asked within a time.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Shorter than a check's own limit, so that what hangs is named.
const LIMIT: Duration = Duration::from_secs(8);

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) succeeded: bool,
    /// None if a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// It did not answer.
#[derive(Debug)]
pub(super) enum Silence {
    NotInstalled,
    Late,
    Broken(io::Error),
}

/// Runs a program that only tells something, without the caller's settings for it.
pub(super) async fn ask(argv: &[&str]) -> Result<Answer, Silence> {
    let [program, arguments @ ..] = argv else { return Err(Silence::NotInstalled) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        // What the daemon and builds read, not what whoever types this has set for themselves.
        .env("NIX_USER_CONF_FILES", "/dev/null")
        .env_remove("NIX_CONFIG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Err(_) => Err(Silence::Late),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Silence::NotInstalled),
        Ok(Err(error)) => Err(Silence::Broken(error)),
        Ok(Ok(output)) => Ok(Answer {
            succeeded: output.status.success(),
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

impl Silence {
    /// Why, as the end of a sentence about the program.
    pub(super) fn why(&self) -> String {
        match self {
            Self::NotInstalled => "is not installed".to_owned(),
            Self::Late => format!("did not answer within {} s", LIMIT.as_secs()),
            Self::Broken(error) => format!("cannot be run: {error}"),
        }
    }
}
