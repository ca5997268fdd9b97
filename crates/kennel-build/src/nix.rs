//! Nix, as Kennel runs it: confined to one project, never asking, never changing a lock file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use kennel_core::config::{FlakeOutput, NixConfig, System};
use kennel_core::{BuildId, CommitSha, ServiceName, StorePath};
use tracing::warn;

use crate::confine::Fence;
use crate::directories::Directories;
use crate::git::config_file;
use crate::leash::Leash;
use crate::memory::Memory;
use crate::mirror::Mirror;
use crate::output_log::OutputLog;
use crate::system::{Remembered, is_plain};
use crate::{nix_error, say};

/// Nix cannot be run at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NixError {
    /// It cannot be started.
    #[error("cannot run nix")]
    Run(#[from] io::Error),
    /// It does not say for which system it builds.
    #[error("nix does not work on this host: {0}")]
    Broken(String),
}

/// Nix on one commit.
#[derive(Debug)]
pub(crate) struct Nix<'a> {
    leash: &'a Leash,
    directories: &'a Directories,
    config: &'a NixConfig,
    flake: String,
    /// Of these the first for which the flake has an output.
    systems: Vec<String>,
}

/// For Nix's own git: flakes have inputs from anywhere, the mirror is a `file`, and git's other
/// transports run programs.
const PROTOCOLS: &str = "file:git:http:https:ssh";

/// Nix, asked for the host's system and not yet listened to.
///
/// A start of Nix takes longer than most of what a build does before it needs the answer, so that
/// it is asked first and heard when the commit is there; and not at all while the last answer holds.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    nix: Nix<'a>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// The operator's for this project, or the last one.
    Known(Vec<String>),
    /// This one's, to be kept there.
    Awaited(Child, Option<Remembered>),
}

impl<'a> Asked<'a> {
    /// Asks, where the operator has not said for which `systems` the project is built.
    ///
    /// # Errors
    /// Nix cannot be started.
    pub(crate) fn begin(
        leash: &'a Leash,
        directories: &'a Directories,
        config: &'a NixConfig,
        systems: &[System],
    ) -> Result<Self, NixError> {
        let nix = Nix { leash, directories, config, flake: String::new(), systems: Vec::new() };
        if !systems.is_empty() {
            let systems = systems.iter().map(System::to_string).collect();
            return Ok(Self { nix, answer: Answer::Known(systems) });
        }
        let remembered =
            leash.find("nix").map(|program| Remembered::of(&directories.cache, &program));
        if let Some(system) = remembered.as_ref().and_then(Remembered::system) {
            return Ok(Self { nix, answer: Answer::Known(vec![system]) });
        }
        let answer = nix
            .command("eval")
            .args(["--impure", "--raw", "--expr", "builtins.currentSystem"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self { nix, answer: Answer::Awaited(answer, remembered) })
    }

    /// Nix on this commit, once it has answered.
    ///
    /// # Errors
    /// [`NixError`] if there is no working Nix.
    pub(crate) fn on(self, build: BuildId, sha: &CommitSha) -> Result<Nix<'a>, NixError> {
        let systems = match self.answer {
            Answer::Known(systems) => systems,
            Answer::Awaited(answer, remembered) => {
                let system = heard(answer)?;
                if let Some(Err(error)) = remembered.map(|it| it.keep(&system)) {
                    warn!("remembering Nix's system: {error}, ignoring: it is asked again");
                }
                vec![system]
            }
        };
        let flake = reference(&self.nix.directories.mirror, build, sha);
        Ok(Nix { flake, systems, ..self.nix })
    }
}

fn heard(answer: Child) -> Result<String, NixError> {
    let asked = answer.wait_with_output()?;
    let system = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if asked.status.success() && is_plain(&system) {
        return Ok(system);
    }
    let said = String::from_utf8_lossy(&asked.stderr);
    let excerpt = nix_error::excerpt(said.lines());
    Err(NixError::Broken(excerpt.unwrap_or_else(|| say::nix_ended(asked.status))))
}

impl Nix<'_> {
    /// Builds one output, its GC root made with it. `Err` inside is the reason why the output
    /// failed.
    ///
    /// # Errors
    /// Nix cannot be started, or its output not be read.
    pub(crate) fn build(
        &self,
        name: &ServiceName,
        output: &FlakeOutput,
        log: &mut OutputLog,
    ) -> io::Result<Result<StorePath, String>> {
        let root = self.directories.root(name.as_str());
        // Of an interrupted run: what is there afterwards must be Nix's answer to this one.
        match fs::remove_file(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _gone => {}
        }
        let mut built = None;
        for system in &self.systems {
            log.forget_kept();
            match self.build_for(system, name, output, log)? {
                Ok(paths) => {
                    built = Some(paths);
                    break;
                }
                Err(Unbuilt::Missing) => log.say(&say::not_for(system, output)),
                Err(Unbuilt::Failed(reason)) => return Ok(Err(reason)),
            }
        }
        let Some(paths) = built else {
            return Ok(Err(say::no_such_output(&self.systems, output, &self.outputs())));
        };
        let path = match fs::read_link(&root) {
            Ok(held) => held.to_string_lossy().into_owned(),
            Err(_no_link) => match self.hold_another(&paths, &root, log)? {
                Some(path) => path,
                None => return Ok(Err(say::nix_made_nothing(output))),
            },
        };
        let Ok(path) = path.parse::<StorePath>() else {
            return Ok(Err(say::not_a_store_path(output, &path)));
        };
        Ok(if self.is_held(name, &path) { Ok(path) } else { Err(say::no_root(&path)) })
    }

    /// The store paths that Nix prints.
    fn build_for(
        &self,
        system: &str,
        name: &ServiceName,
        output: &FlakeOutput,
        log: &mut OutputLog,
    ) -> io::Result<Result<String, Unbuilt>> {
        let before = Memory::now();
        let (status, paths) = follow(self.build_command(system, name, output), log)?;
        if status.success() {
            return Ok(Ok(paths));
        }
        let Some(reason) = reason(status, log) else { return Ok(Err(Unbuilt::Missing)) };
        Ok(Err(Unbuilt::Failed(match Memory::now().short_since(before) {
            Some(short) => say::out_of_memory(short, &reason),
            None => reason,
        })))
    }

    /// Whether the build's GC root of this name holds `path`, and `path` is there.
    pub(crate) fn is_held(&self, name: &ServiceName, path: &StorePath) -> bool {
        fs::read_link(self.directories.root(name.as_str()))
            .is_ok_and(|held| held == path.as_path() && held.exists())
    }

    /// Where a package installs `bin` and `man` but no `out`, Nix makes links like `<name>-bin`
    /// only. Then its programs, or else its first path, get the root that the deployment looks for.
    fn hold_another(
        &self,
        paths: &str,
        root: &Path,
        log: &mut OutputLog,
    ) -> io::Result<Option<String>> {
        let Some(path) = paths.lines().find(|path| path.ends_with("-bin")).or(paths.lines().next())
        else {
            return Ok(None);
        };
        let mut command = self.command("build");
        command.arg(path).arg("--out-link").arg(root);
        follow(command, log)?;
        Ok(Some(path.to_owned()))
    }

    fn build_command(&self, system: &str, name: &ServiceName, output: &FlakeOutput) -> Command {
        let Self { config, flake, .. } = self;
        let mut command = self.command("build");
        command
            .args(["--max-silent-time", &config.max_silent_time.as_secs().to_string()])
            .args(["--timeout", &config.timeout.as_secs().to_string()])
            .args(["--print-build-logs", "--print-out-paths", "--out-link"])
            .arg(self.directories.root(name.as_str()))
            .arg(format!("{flake}#packages.{system}.{output}"));
        command
    }

    /// A Nix command with everything that all of them share; its own arguments follow.
    fn command(&self, subcommand: &str) -> Command {
        let Directories { mirror, cache, work, roots, .. } = self.directories;
        let fence = Fence {
            // Nix clones the mirror and never writes it.
            read: vec![mirror.clone()],
            write: vec![cache.clone(), work.clone(), roots.clone()],
        };
        let mut command = self.leash.command(&fence, "nix");
        command
            .arg(subcommand)
            .args(["--no-update-lock-file", "--no-write-lock-file"])
            .args(["--extra-experimental-features", "nix-command flakes"])
            // A repository does not choose substituters and keys for this host.
            .args(["--option", "accept-flake-config", "false"])
            .args(["--option", "allow-import-from-derivation"])
            .arg(self.config.allow_import_from_derivation.to_string())
            // What `nixpkgs` means is for the lock file to say, not for somebody's server.
            .args(["--option", "use-registries", "false"])
            .current_dir(work)
            .env("GC_NPROCS", processors())
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_CONFIG_GLOBAL", config_file(self.directories))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", cache)
            .env("NIX_REMOTE", "daemon")
            // No nix.conf but the host's.
            .env("NIX_USER_CONF_FILES", "/dev/null")
            .env("TMPDIR", work)
            .env("XDG_CACHE_HOME", cache.join("cache"))
            .env("XDG_CONFIG_HOME", cache.join("config"))
            .env("XDG_DATA_HOME", cache.join("data"))
            .env("XDG_STATE_HOME", cache.join("state"));
        command
    }

    /// The names of what the flake offers for these systems; none if it cannot be asked.
    fn outputs(&self) -> BTreeSet<String> {
        let of = |system: &String| -> Option<Vec<String>> {
            let packages = format!("{}#packages.{system}", self.flake);
            let mut eval = self.command("eval");
            eval.args(["--json", &packages, "--apply", "builtins.attrNames"]);
            let asked = eval.stderr(Stdio::null()).output().ok()?;
            serde_json::from_slice(&asked.stdout).ok()
        };
        self.systems.iter().filter_map(of).flatten().collect()
    }
}

/// Why there is no store path.
enum Unbuilt {
    /// The flake has no such output for this system.
    Missing,
    /// Anything else, in words.
    Failed(String),
}

/// Why Nix failed; none if the flake has no such output.
fn reason(status: ExitStatus, log: &OutputLog) -> Option<String> {
    let Some(excerpt) = nix_error::excerpt(log.kept()) else {
        let last: Vec<&str> = log.kept().collect();
        let last = last.get(last.len().saturating_sub(10)..).unwrap_or_default();
        return Some(say::nix_ended_after(status, last));
    };
    if nix_error::is_missing_output(&excerpt) {
        return None;
    }
    if nix_error::is_stale_lock(&excerpt) {
        return Some(say::stale_lock(&excerpt));
    }
    if nix_error::lacks_builder(&excerpt) {
        return Some(say::no_builder(&excerpt));
    }
    if status.signal().is_some() {
        return Some(format!("{}\n{excerpt}", say::nix_ended(status)));
    }
    Some(excerpt)
}

/// Nix's garbage collector would look for them in /proc/stat, which the unit hides
/// (`ProcSubset=pid`), and warn in every log that it is not there.
fn processors() -> String {
    thread::available_parallelism().map_or(1, NonZero::get).to_string()
}

/// The commit in the mirror. The build's own ref saves Nix from asking for the default branch.
fn reference(mirror: &Path, build: BuildId, sha: &CommitSha) -> String {
    let git_ref = Mirror::build_ref(build);
    format!("git+file://{}?ref={git_ref}&rev={sha}", mirror.display())
}

/// Runs a command to its end; its stderr goes to the log as it comes, its stdout comes back.
fn follow(mut command: Command, log: &mut OutputLog) -> io::Result<(ExitStatus, String)> {
    // On this thread: the child dies with the thread that starts it.
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(64 << 10).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    });
    if let Some(stderr) = child.stderr.take() {
        log.follow(stderr)?;
    }
    let status = child.wait()?;
    let stdout =
        reader.join().unwrap_or_else(|_panic| Err(io::Error::other("a reader panicked")))?;
    Ok((status, String::from_utf8_lossy(&stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kennel_core::Layout;

    use super::*;
    use crate::leash::tests::{bare, shown};

    #[test]
    fn command_line() {
        let project = "demo".parse().unwrap();
        let build = BuildId::from_row(42);
        let directories = Directories::new(&Layout::default(), &project, build);
        let sha = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334".parse().unwrap();
        let nix = Nix {
            leash: &bare(),
            directories: &directories,
            config: &NixConfig {
                allow_import_from_derivation: false,
                max_silent_time: Duration::from_secs(1200),
                timeout: Duration::from_secs(10800),
            },
            flake: reference(&directories.mirror, build, &sha),
            systems: Vec::new(),
        };
        let command = nix.build_command(
            "x86_64-linux",
            &"api".parse().unwrap(),
            &"server.bin".parse().unwrap(),
        );
        insta::assert_snapshot!(shown(&command));
    }
}
