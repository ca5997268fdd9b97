//! Running programs inside of a host, as root and with a clean environment.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

use super::{Host, Kind, vm};

/// What a login gives root on Debian, and on NixOS.
pub(super) const PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// What a program in the host answered.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 128 and the signal's number when one ended it.
    pub code: i32,
    /// Its standard output, with anything that is not UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// A program in the host that was expected to succeed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What was run.
    pub argv: Vec<String>,
    /// What came of it.
    pub output: Output,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in the host ended with {}", self.argv.join(" "), self.output.code)?;
        for text in [&self.output.stderr, &self.output.stdout] {
            if !text.trim().is_empty() {
                write!(f, "\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failed {}

impl Host {
    /// A command that runs `argv` in the host; standard streams are the caller's to set.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn command<S: AsRef<str>>(&self, argv: &[S]) -> Result<Command> {
        let leader = self.leader()?;
        if self.kind == Kind::Machine {
            return Ok(vm::enter(&self.dir, argv));
        }
        let cgroup = self.cgroup().and_then(|cgroup| cgroup.for_visitors());
        let mut command = Command::new("/bin/sh");
        // Into the host's cgroup first: its files are the machine's. `-a` leaves out what is shared.
        command.args([
            "-c",
            "[ -z \"$0\" ] || echo $$ >\"$0\"/cgroup.procs\n\
             leader=$1; shift\n\
             exec nsenter --target \"$leader\" --all -- env -C /root \"$@\"",
        ]);
        command
            .arg(cgroup.unwrap_or_default())
            .arg(leader.to_string())
            .args(argv.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8");
        if let Some(term) = std::env::var_os("TERM") {
            command.env("TERM", term);
        }
        Ok(command)
    }

    /// Runs a program in the host and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it cannot be run or does not exit with 0; then the error is a [`Failed`].
    pub fn run<S: AsRef<str>>(&self, argv: &[S]) -> Result<String> {
        self.run_with_input(argv, b"")
    }

    /// Runs a program in the host whatever its exit code.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn try_run<S: AsRef<str>>(&self, argv: &[S]) -> Result<Output> {
        self.collect(argv, b"")
    }

    /// Like [`Host::run`], with bytes for its standard input.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_with_input<S: AsRef<str>>(&self, argv: &[S], input: &[u8]) -> Result<String> {
        let output = self.collect(argv, input)?;
        if output.code != 0 {
            let argv = argv.iter().map(|arg| arg.as_ref().to_owned()).collect();
            return Err(Failed { argv, output }.into());
        }
        Ok(output.stdout)
    }

    /// Runs a shell script in the host and returns what it wrote to standard output.
    ///
    /// # Errors
    /// As [`Host::run`]; the script ends at its first failing command.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.run(&["sh", "-euc", script])
    }

    /// What `journalctl` shows, with everything that was written to the journal before.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn journal<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String> {
        // journald reads what programs send it when it gets to it.
        self.run(&["journalctl", "--sync"])?;
        let arguments = arguments.iter().map(AsRef::as_ref);
        let argv: Vec<&str> =
            ["journalctl", "-q", "--no-pager"].into_iter().chain(arguments).collect();
        self.run(&argv)
    }

    fn collect<S: AsRef<str>>(&self, argv: &[S], input: &[u8]) -> Result<Output> {
        let mut child = self
            .command(argv)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nsenter or ssh")?;
        let stdin = child.stdin.take();
        // Beside the reading of what it says: either pipe may fill up first.
        let output = thread::scope(|scope| {
            scope.spawn(move || {
                // A program that does not read its input has its own reasons.
                let _ = stdin.map(|mut stdin| stdin.write_all(input));
            });
            child.wait_with_output()
        })?;
        Ok(Output {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// The exit code as a shell shows it.
#[must_use]
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
