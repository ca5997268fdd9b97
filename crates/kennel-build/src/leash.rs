//! How children are started: confined, with a clean environment, and never outliving this program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::confine::Fence;

/// Starts children through a program that confines itself and then becomes another: this very one.
#[derive(Debug, Clone)]
pub struct Leash {
    confiner: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

/// What children keep of this program's environment. Everything else may be a secret, and
/// `NOTIFY_SOCKET` would let a child speak for the unit.
const KEPT: [&str; 13] = [
    "ALL_PROXY",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LOCALE_ARCHIVE",
    "NIX_SSL_CERT_FILE",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Those of them that name a file, which children must be able to read.
const FILES: [&str; 3] = ["GIT_SSL_CAINFO", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE"];

impl Leash {
    /// The running program. By this name it is found even after an upgrade replaced its file.
    #[must_use]
    pub fn itself() -> Self {
        Self::with_confiner("/proc/self/exe")
    }

    /// Another copy of the program, for tests.
    #[must_use]
    pub fn with_confiner(confiner: impl Into<PathBuf>) -> Self {
        let environment =
            KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        Self { confiner: confiner.into(), environment }
    }

    /// Looks for git and Nix in other directories (`PATH`), for tests.
    #[must_use]
    pub fn searching(mut self, path: impl Into<OsString>) -> Self {
        self.environment.retain(|(name, _)| *name != "PATH");
        self.environment.push(("PATH", path.into()));
        self
    }

    /// Where children find a program, if it is anywhere.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let (_, path) = self.environment.iter().find(|(name, _)| *name == "PATH")?;
        std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| file.is_file())
    }

    /// A command that runs `program` behind `fence`, without input.
    pub(crate) fn command(&self, fence: &Fence, program: &str) -> Command {
        let mut command = Command::new(&self.confiner);
        command.arg("confined").env_clear().stdin(Stdio::null());
        for path in &fence.read {
            command.arg("--read").arg(path);
        }
        for (name, value) in &self.environment {
            if FILES.contains(name) {
                command.arg("--read").arg(value);
            }
            command.env(name, value);
        }
        for path in &fence.write {
            command.arg("--write").arg(path);
        }
        command.arg("--").arg(program);
        // Messages are told apart by their words.
        command.env("LC_ALL", "C.UTF-8");
        command
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Without anything of this machine.
    pub(crate) fn bare() -> Leash {
        Leash { confiner: "kennel-build".into(), environment: Vec::new() }
    }

    /// A command line and the environment it sets, as one text.
    pub(crate) fn shown(command: &Command) -> String {
        let mut text = String::new();
        for (name, value) in command.get_envs().filter(|(name, _)| *name != "GC_NPROCS") {
            text += &format!("{}={}\n", name.display(), value.unwrap_or_default().display());
        }
        text += &command.get_program().to_string_lossy();
        for argument in command.get_args() {
            let argument = argument.to_string_lossy();
            text += if argument.starts_with("--") { "\n  " } else { " " };
            text += &argument;
        }
        text
    }

    #[test]
    fn files_that_variables_name_can_be_read() {
        let fence = Fence { read: vec!["/srv/a".into()], write: vec!["/b".into(), "/c".into()] };
        let mut leash = bare();
        leash.environment.push(("PATH", "/usr/bin".into()));
        leash.environment.push(("SSL_CERT_FILE", "/opt/certificates.pem".into()));
        let mut command = leash.command(&fence, "git");
        command.arg("status");
        insta::assert_snapshot!(shown(&command), @r"
        LC_ALL=C.UTF-8
        PATH=/usr/bin
        SSL_CERT_FILE=/opt/certificates.pem
        kennel-build confined
          --read /srv/a
          --read /opt/certificates.pem
          --write /b
          --write /c
          -- git status
        ");
    }

    #[test]
    fn nothing_else_is_inherited() {
        let command = Leash::itself().command(&Fence::default(), "git");
        let names: Vec<String> =
            command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert!(names.iter().all(|name| KEPT.contains(&name.as_str()) || name == "LC_ALL"));
        assert!(!names.contains(&"NOTIFY_SOCKET".to_owned()));
    }
}
