//! Every sentence that a build says to people: in the journal, in its log, as a reason.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use kennel_core::config::{FlakeOutput, RepoUrl};
use kennel_core::{BuildId, BuildState, CommitSha, GitRef, ProjectName, ServiceName, StorePath};

use crate::memory::Short;
use crate::mirror::Found;
use crate::verdict::Ending;

/// `STATUS=` before the row is known.
pub(crate) fn claiming(id: BuildId) -> String {
    format!("claiming build {id}")
}

/// `STATUS=` of every later step.
pub(crate) fn status(
    project: &ProjectName,
    git_ref: &GitRef,
    sha: &CommitSha,
    step: &str,
) -> String {
    format!("building {project}/{}@{}: {step}", git_ref.short(), sha.short())
}

pub(crate) fn step_of_output(name: &ServiceName, number: usize, of: usize) -> String {
    format!("{name} ({number} of {of})")
}

pub(crate) fn tidied(path: &Path) -> String {
    format!("removed {}: no build needs it any more", path.display())
}

pub(crate) fn not_tidied(path: &Path, error: &io::Error) -> String {
    format!("cannot remove {}: {error}; it is tried again tomorrow", path.display())
}

pub(crate) fn emptied(cache: &Path, size: u64, most: u64) -> String {
    let (cache, size, most) = (cache.display(), size >> 20, most >> 20);
    format!(
        "emptied {cache}: it took {size} MiB, and may take {most}; what is needed is fetched again"
    )
}

pub(crate) fn over_already(id: BuildId, state: BuildState) -> String {
    format!("build {id} is {state} already; nothing to do")
}

pub(crate) fn begins(id: BuildId, sha: &CommitSha) -> String {
    format!("build {id} of {sha} begins")
}

pub(crate) fn fetching(git_ref: &GitRef, project: &ProjectName, url: &RepoUrl) -> String {
    format!("fetching {git_ref} of {project} from {url}")
}

pub(crate) fn fetched(sha: &CommitSha, found: Found, git_ref: &GitRef) -> String {
    let sha = sha.short();
    match found {
        Found::Already => format!("{sha} had been fetched before"),
        Found::Tip => format!("{sha} fetched"),
        Found::Passed => format!("{sha} fetched; {git_ref} has moved on since"),
        Found::Aside => format!("{sha} fetched by itself; {git_ref} no longer contains it"),
    }
}

pub(crate) fn outputs<'n>(names: impl Iterator<Item = &'n ServiceName>) -> String {
    let names: Vec<&str> = names.map(ServiceName::as_str).collect();
    format!("kennel.toml asks for {}", names.join(", "))
}

pub(crate) fn building(name: &ServiceName) -> String {
    format!("building {name}")
}

pub(crate) fn kept(name: &ServiceName, path: &StorePath) -> String {
    format!("{name}: {path}, built before the interruption")
}

pub(crate) fn built(
    name: &ServiceName,
    path: &StorePath,
    took: Duration,
    is_unchanged: bool,
) -> String {
    let unchanged = if is_unchanged { ", unchanged" } else { "" };
    format!("{name}: {path} in {:.1} s{unchanged}", took.as_secs_f64())
}

pub(crate) fn failed_after(name: &ServiceName, took: Duration) -> String {
    format!("{name} failed after {:.1} s", took.as_secs_f64())
}

/// Sets a line of Kennel's own apart from Nix's.
pub(crate) fn in_log_of_output(text: &str) -> String {
    format!("[kennel] {text}")
}

pub(crate) fn output_failed(name: &ServiceName, reason: &str) -> String {
    format!("{name} failed: {reason}")
}

/// Separates two runs in one log file.
pub(crate) fn log_continues() -> &'static str {
    "[kennel] again: an earlier run was interrupted"
}

/// Stands between the beginning and the end of a long log. As long for every number: it is written
/// again in its place.
pub(crate) fn log_leaves_out(lines: u64, bytes: u64) -> String {
    let said = format!("[kennel] {lines} lines ({} MiB) are left out here", bytes >> 20);
    format!("{said:<79}\n")
}

/// The reason of a build in which something failed; the outputs' own reasons stand beside it.
pub(crate) fn outputs_failed(failed: &[(ServiceName, String)], of: usize) -> Option<String> {
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    match failed {
        [] => None,
        [(name, reason)] if of == 1 => Some(output_failed(name, reason)),
        [(name, reason)] => Some(format!("1 of {of} outputs failed: {name}\n{reason}")),
        [..] => {
            let reasons: Vec<String> =
                failed.iter().map(|(name, reason)| format!("{name}: {}", gist(reason))).collect();
            Some(format!(
                "{} of {of} outputs failed: {}\n{}",
                failed.len(),
                names.join(", "),
                reasons.join("\n")
            ))
        }
    }
}

/// One line of a reason. Nix says last what is wrong, and a builder's failure first.
fn gist(reason: &str) -> &str {
    let is_error = |line: &&str| {
        line.trim_start().strip_prefix("error:").is_some_and(|rest| !rest.trim().is_empty())
    };
    reason.lines().rev().find(is_error).or_else(|| reason.lines().next()).unwrap_or_default().trim()
}

pub(crate) fn ended(state: BuildState, took: Duration) -> String {
    format!("{state} after {:.1} s", took.as_secs_f64())
}

pub(crate) fn superseded_before_its_end() -> &'static str {
    "a newer commit came first"
}

pub(crate) fn nix_ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("nix was killed by signal {signal}"),
        None => format!("nix ended with status {}", status.code().unwrap_or_default()),
    }
}

pub(crate) fn nix_ended_after(status: ExitStatus, last_lines: &[&str]) -> String {
    let ended = nix_ended(status);
    if last_lines.is_empty() {
        format!("{ended} and said nothing")
    } else {
        format!("{ended}; its last lines:\n{}", last_lines.join("\n"))
    }
}

const EVALUATION_OUT_OF_MEMORY: &str = "out of memory: git or the evaluation needed more than kennel-build@.service may use (oom-kill); let the flake evaluate less, or `systemctl edit kennel-build@` (MemoryMax=)";

const BUILDERS_OUT_OF_MEMORY: &str = "out of memory: builders needed more than nix-daemon.service may use, and the kernel ended one meanwhile (oom-kill); let the build need less, or `systemctl edit nix-daemon` (MemoryMax=)";

/// In front, since it explains what comes after it.
pub(crate) fn out_of_memory(short: Short, reason: &str) -> String {
    let what = match short {
        Short::Evaluation => EVALUATION_OUT_OF_MEMORY,
        Short::Builders => BUILDERS_OUT_OF_MEMORY,
    };
    format!("{what}\n{reason}")
}

pub(crate) fn nix_made_nothing(output: &FlakeOutput) -> String {
    format!("{output} built, but Nix names no path for it; it must be a derivation with an output")
}

pub(crate) fn not_a_store_path(output: &FlakeOutput, path: &str) -> String {
    format!(
        "{output} is {path}, which is not a path of its own in /nix/store; make it a derivation"
    )
}

pub(crate) fn no_root(path: &StorePath) -> String {
    format!("Nix made {path}, but no GC root for it; see the log")
}

pub(crate) fn stale_lock(reason: &str) -> String {
    format!("{reason}\nrun `nix flake lock` and commit flake.lock: a build does not change it")
}

pub(crate) fn no_builder(reason: &str) -> String {
    format!(
        "{reason}\nthis host does not: name a machine that does in nix.conf (builders=), or let this host emulate another processor (binfmt, and extra-platforms=)"
    )
}

/// In the output's log, before the next system is tried.
pub(crate) fn not_for(system: &str, output: &FlakeOutput) -> String {
    in_log_of_output(&format!("the flake has no packages.{system}.{output}"))
}

pub(crate) fn no_such_output(
    systems: &[String],
    output: &FlakeOutput,
    has: &BTreeSet<String>,
) -> String {
    let names: Vec<String> =
        systems.iter().map(|system| format!("packages.{system}.{output}")).collect();
    let none = format!("the flake has no {}", names.join(" and no "));
    if has.is_empty() {
        return format!("{none}, nor any other package for {}", systems.join(" or "));
    }
    let shown: Vec<&str> = has.iter().take(20).map(String::as_str).collect();
    let more = if has.len() > shown.len() { ", …" } else { "" };
    format!("{none}; it has {}{more}; name one of them in `flake_output`", shown.join(", "))
}

/// Why a build's program came to its end without saying so itself.
pub(crate) fn ending(ending: &Ending, last_lines: &[String]) -> String {
    let what = match ending {
        Ending::Stopped => "stopped".to_owned(),
        Ending::Silent => "the program ended without writing down a result".into(),
        Ending::OutOfMemory => EVALUATION_OUT_OF_MEMORY.into(),
        Ending::Timeout => {
            "it took longer than kennel-build@.service may run (RuntimeMaxSec=)".into()
        }
        Ending::Watchdog => "the program no longer answered (WatchdogSec=)".into(),
        Ending::CoreDump(signal) => format!("the program crashed with SIG{signal}"),
        Ending::Killed(signal) => format!("the program was killed by SIG{signal}"),
        Ending::Waits => "waits for the host: for its configuration, or for room".into(),
        Ending::Exit(status) => {
            format!("the program ended with status {status}; see its journal")
        }
        Ending::NotStarted(result) => {
            format!("systemd could not start the program ({result}); see its journal")
        }
    };
    if last_lines.is_empty() {
        return what;
    }
    format!("{what}\nthe last lines of its log:\n{}", last_lines.join("\n"))
}

pub(crate) fn stopped_by_hand(id: BuildId) -> String {
    format!("stopped on the host (systemctl stop kennel-build@{id})")
}

pub(crate) fn settled(id: BuildId, state: BuildState, reason: Option<&str>) -> String {
    match (state, reason) {
        (BuildState::Queued, _) => format!("build {id} was interrupted and runs again later"),
        (_, Some(reason)) => format!("build {id} is {state}: {reason}"),
        (_, None) => format!("build {id} is {state}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence() {
        let id = BuildId::from_row(42);
        let project: ProjectName = "demo".parse().unwrap();
        let git_ref: GitRef = "refs/heads/main".parse().unwrap();
        let sha: CommitSha = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334".parse().unwrap();
        let url: RepoUrl = "https://git.example.com/team/demo.git".parse().unwrap();
        let api: ServiceName = "api".parse().unwrap();
        let web: ServiceName = "web".parse().unwrap();
        let output: FlakeOutput = "server".parse().unwrap();
        let path: StorePath = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api".parse().unwrap();
        let took = Duration::from_millis(3210);
        let failed = |names: &[&ServiceName], of| {
            let failed: Vec<(ServiceName, String)> = names
                .iter()
                .map(|name| {
                    ((*name).clone(), "error:\n… while calling\nerror: it is wrong\n".to_owned())
                })
                .collect();
            outputs_failed(&failed, of).unwrap()
        };
        let exited = ExitStatus::from_raw(3 << 8);
        let lines = ["one".to_owned(), "two".to_owned()];
        let systems = ["x86_64-linux".to_owned(), "aarch64-linux".to_owned()];
        let has = BTreeSet::from(["api".to_owned(), "web".to_owned()]);
        let mut all = vec![
            claiming(id),
            status(&project, &git_ref, &sha, &step_of_output(&api, 1, 3)),
            tidied(Path::new("/var/lib/kennel/logs/7")),
            not_tidied(
                Path::new("/var/lib/kennel/logs/7"),
                &io::ErrorKind::PermissionDenied.into(),
            ),
            emptied(Path::new("/var/lib/kennel/cache/shop"), 5 << 30, 4 << 30),
            over_already(id, BuildState::Partial),
            begins(id, &sha),
            fetching(&git_ref, &project, &url),
            outputs([&api, &web].into_iter()),
            building(&api),
            kept(&api, &path),
            built(&api, &path, took, false),
            built(&api, &path, took, true),
            in_log_of_output(&failed_after(&api, took)),
            output_failed(&api, "error: it is wrong"),
            log_continues().into(),
            log_leaves_out(12_345_678, 345 << 20).trim_end().into(),
            failed(&[&api], 1),
            failed(&[&api], 3),
            failed(&[&api, &web], 3),
            ended(BuildState::Partial, took),
            superseded_before_its_end().into(),
            nix_ended(ExitStatus::from_raw(9)),
            nix_ended_after(exited, &[]),
            nix_ended_after(exited, &["one", "two"]),
            out_of_memory(Short::Builders, "error: builder for 'x.drv' failed with exit code 137"),
            out_of_memory(Short::Evaluation, "nix was killed by signal 9"),
            nix_made_nothing(&output),
            not_a_store_path(&output, "/nix/store/x/public"),
            no_root(&path),
            no_such_output(&systems[..1], &output, &BTreeSet::new()),
            no_such_output(&systems[..1], &output, &has),
            no_such_output(&systems, &output, &has),
            not_for("x86_64-linux", &output),
            no_builder("error: a 'aarch64-linux' with features {} is required to build 'x.drv'"),
            stale_lock("error: it needs an input"),
            stopped_by_hand(id),
            settled(id, BuildState::Queued, None),
            settled(id, BuildState::Failed, Some("out of memory")),
            settled(id, BuildState::Superseded, None),
            ending(&Ending::OutOfMemory, &lines),
        ];
        for found in [Found::Already, Found::Tip, Found::Passed, Found::Aside] {
            all.push(fetched(&sha, found, &git_ref));
        }
        for end in [
            Ending::Stopped,
            Ending::Silent,
            Ending::Timeout,
            Ending::Watchdog,
            Ending::CoreDump("SEGV".into()),
            Ending::Killed("KILL".into()),
            Ending::Waits,
            Ending::Exit("101".into()),
            Ending::NotStarted("resources".into()),
        ] {
            all.push(ending(&end, &[]));
        }
        insta::assert_snapshot!(all.join("\n--\n"));
    }
}
