//! Git, as Kennel runs it: confined, without the host's or anybody's configuration, and never
//! asking.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kennel_core::config::RepoUrl;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::confine::Fence;
use crate::directories::Directories;
use crate::leash::Leash;
use crate::objects::Objects;

/// What one git command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// Whether it was ended for taking longer than it may.
    pub(crate) late: bool,
}

impl Said {
    /// Its output as one trimmed text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Git on one project's mirror.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    leash: &'a Leash,
    directories: &'a Directories,
    url: &'a RepoUrl,
    patience: Duration,
}

/// How long one git command may take. Git itself leaves an HTTP server that sends less than 1,000
/// bytes a second for a minute, and ssh a host that no longer answers; nothing leaves a server that
/// is there and silent, and it would hold a place among the builds until its unit's end. Half an
/// hour is for the first copy of a large repository. docs/limits.md says so too.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

impl<'a> Git<'a> {
    /// Writes git's configuration, which every command then reads.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn new(
        leash: &'a Leash,
        directories: &'a Directories,
        url: &'a RepoUrl,
    ) -> io::Result<Self> {
        fs::write(config_file(directories), configuration(&directories.mirror, url.local_path()))?;
        Ok(Self { leash, directories, url, patience: PATIENCE })
    }

    /// Lets each command take so long, for tests.
    pub(crate) fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long a command may take.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// Git cannot be started. A git that fails is no error here.
    pub(crate) fn run(&self, arguments: &[&str]) -> io::Result<Said> {
        let mut command = self.command();
        // A group of its own: git's helpers hold its pipes open when it alone is killed.
        command.args(arguments).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let (ended, end) = mpsc::channel::<Infallible>();
        let patience = self.patience;
        let watch = thread::spawn(move || {
            let late = end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
            if late {
                // One that has ended just now needs nothing.
                let _gone = kill_process_group(group, Signal::KILL);
            }
            late
        });
        // On this thread: the child dies with the thread that starts it.
        let output = child.wait_with_output();
        drop(ended);
        let late = watch.join().unwrap_or(false);
        let output = output?;
        Ok(Said {
            late: late && !output.status.success(),
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A git that hands out the mirror's objects.
    ///
    /// # Errors
    /// Git cannot be started.
    pub(crate) fn objects(&self) -> io::Result<Objects> {
        Objects::open(self.command())
    }

    /// Everything but the subcommand.
    fn command(&self) -> Command {
        let Directories { mirror, work, .. } = self.directories;
        let fence = Fence {
            read: self.url.local_path().map(Path::to_path_buf).into_iter().collect(),
            write: vec![mirror.clone(), work.clone()],
        };
        let mut command = self.leash.command(&fence, "git");
        command
            .arg("--git-dir")
            .arg(mirror)
            .current_dir(work)
            .env("HOME", work)
            .env("TMPDIR", work)
            .env("GIT_ALLOW_PROTOCOL", self.url.protocol())
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", config_file(self.directories))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_SSH_COMMAND", SSH)
            .env("GIT_TERMINAL_PROMPT", "0");
        command
    }
}

/// Never asks, and gives up on a forge that is silent for a minute.
const SSH: &str =
    "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4";

/// Git's only configuration file. Nix's own git reads it too.
pub(crate) fn config_file(directories: &Directories) -> PathBuf {
    directories.work.join("gitconfig")
}

/// Git refuses repositories of another owner unless a *file* lists them: for the process that
/// serves a fetch neither `-c` nor `GIT_CONFIG_COUNT` counts (git-config(1), `safe.directory`).
fn configuration(mirror: &Path, source: Option<&Path>) -> String {
    let mut safe = vec![mirror.to_path_buf()];
    if let Some(source) = source {
        safe.push(source.to_path_buf());
        safe.push(source.join(".git"));
    }
    let safe: String = safe
        .iter()
        .map(|path| format!("\tdirectory = {}\n", quoted(&path.to_string_lossy())))
        .collect();
    format!("[safe]\n{safe}{SETTINGS}")
}

const SETTINGS: &str = "\
[core]
\thooksPath = /dev/null
[credential]
\thelper =
[fetch]
\trecurseSubmodules = false
# A pack arrives whole or not at all; loose objects of a killed fetch could look complete.
\tunpackLimit = 1
[gc]
\tauto = 0
[http]
\tlowSpeedLimit = 1000
\tlowSpeedTime = 60
[maintenance]
\tauto = false
[protocol]
\tversion = 2
[uploadpack]
# Nix asks the mirror for the commit itself.
\tallowAnySHA1InWant = true
";

/// As a value in git's configuration file (git-config(1), \"Syntax\").
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use kennel_core::{BuildId, Layout};

    use super::*;
    use crate::leash::tests::{bare, shown};

    #[test]
    fn configuration_names_the_mirror_and_a_local_source() {
        let mirror = Path::new("/var/lib/kennel/repos/demo.git");
        insta::assert_snapshot!(configuration(mirror, Some(Path::new("/srv/a\"b\\c"))));
    }

    #[test]
    fn command_line() {
        let project = "demo".parse().unwrap();
        let directories = Directories::new(&Layout::default(), &project, BuildId::from_row(42));
        let leash = bare();
        let command = |url: &str| {
            let url = url.parse().unwrap();
            let git =
                Git { leash: &leash, directories: &directories, url: &url, patience: PATIENCE };
            shown(git.command().args(["rev-parse", "HEAD"]))
        };
        insta::assert_snapshot!("git_https", command("https://git.example.com/team/demo.git"));
        insta::assert_snapshot!("git_file", command("file:///srv/demo.git"));
    }
}
