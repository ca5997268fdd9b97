//! Whole builds, with real git and a Nix that only makes links.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use kennel_build::{Directories, Leash, Runner};
use kennel_core::{BuildId, BuildState, CommitSha, EventId, Layout, Timestamp};
use kennel_store::{Access, Build, Builds, NewBuild};

use crate::{PROGRAM, no_landlock};

/// Answers as Nix does: a link and a path, or an error, by the output's name.
const NIX: &str = r#"#!/bin/sh
case $1 in
eval) printf %s x86_64-linux; exit ;;
esac
while [ $# -gt 0 ]; do
    case $1 in
    --out-link) link=$2; shift ;;
    git+file*) what=$1 output=${1##*.} ;;
    esac
    shift
done
case $what in
*#packages.x86_64-linux.arm | *.nowhere)
    echo "error: flake 'x' does not provide attribute '${what#*#}'" >&2
    exit 1
    ;;
esac
case $output in
bad*) echo "error: $output is bad" >&2; exit 1 ;;
killed) kill -KILL $$ ;;
esac
path=/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-$output
echo "$output> building" >&2
ln -s "$path" "$link"; echo "$path"
"#;

struct Host {
    dir: tempfile::TempDir,
    layout: Layout,
    builds: Builds,
    requests: i64,
}

impl Host {
    fn new(test: &str) -> Option<Self> {
        if no_landlock(test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        for path in ["etc/kennel/projects.d", "var/lib/kennel/builds", "source"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(layout.config(), "base_domain = \"example.com\"\n").unwrap();
        let source = dir.path().join("source");
        fs::write(
            layout.projects().join("demo.toml"),
            format!("repo_url = \"file://{}\"\nforge = \"forgejo\"\n", source.display()),
        )
        .unwrap();
        // Where a confined child may execute something of ours: its own cache.
        let bin = layout.cache(&"demo".parse().unwrap()).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("nix"), NIX).unwrap();
        fs::set_permissions(bin.join("nix"), fs::Permissions::from_mode(0o755)).unwrap();
        let builds = Builds::open(&layout.builds_db(), Access::Patient).unwrap();
        let host = Self { dir, layout, builds, requests: 0 };
        host.git(&["init", "--quiet", "--initial-branch=main"]);
        Some(host)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .current_dir(self.dir.path().join("source"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Pushes a kennel.toml, or none, and queues its build.
    fn push(&mut self, manifest: Option<&str>) -> BuildId {
        let file = self.dir.path().join("source/kennel.toml");
        match manifest {
            Some(text) => fs::write(file, text).unwrap(),
            None => drop(fs::remove_file(file)),
        }
        self.queue()
    }

    /// Commits what is there, and queues its build.
    fn queue(&mut self) -> BuildId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
        let sha: CommitSha = self.git(&["rev-parse", "HEAD"]).parse().unwrap();
        self.requests += 1;
        let new = NewBuild {
            fork: false,
            needs_approval: false,
            request: EventId::from_row(self.requests),
            project: "demo".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            sha,
            by: None,
            received_at: Timestamp::from_millis(1),
        };
        self.builds.enqueue(&new, Timestamp::from_millis(1)).unwrap().id
    }

    fn run(&self, id: BuildId) -> Option<BuildState> {
        let bin = self.layout.cache(&"demo".parse().unwrap()).join("bin");
        let path = std::env::join_paths(
            [bin].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let leash = Leash::with_confiner(PROGRAM).searching(path.unwrap());
        Runner::new(&self.layout, leash, id).run().unwrap()
    }

    fn row(&self, id: BuildId) -> Build {
        self.builds.get(id).unwrap().unwrap()
    }

    fn outputs(&self, id: BuildId) -> String {
        let mut text = String::new();
        for output in self.builds.outputs(id).unwrap() {
            let reason = output.reason.unwrap_or_default();
            text += &format!("{} {} {}\n", output.name, output.state, reason);
        }
        text
    }

    fn directories(&self, id: BuildId) -> Directories {
        Directories::new(&self.layout, &"demo".parse().unwrap(), id)
    }

    fn reason(&self, id: BuildId) -> String {
        let reason = self.row(id).reason.unwrap_or_default();
        reason.replace(self.row(id).sha.short(), "SHA")
    }
}

#[test]
fn an_output_is_for_the_first_system_that_the_flake_has_it_for() {
    let Some(mut host) = Host::new("an_output_is_for") else { return };
    let manifest = "[services.arm]\n[services.both]\n[static_sites.nowhere]\n";
    let id = host.push(Some(manifest));
    host.run(id);
    insta::assert_snapshot!(host.outputs(id), @r"
    arm failed the flake has no packages.x86_64-linux.arm, nor any other package for x86_64-linux
    both failed Nix made /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-both, but no GC root for it; see the log
    nowhere failed the flake has no packages.x86_64-linux.nowhere, nor any other package for x86_64-linux
    ");
    let file = host.layout.projects().join("demo.toml");
    let project = fs::read_to_string(&file).unwrap();
    let systems = "systems = [\"x86_64-linux\", \"aarch64-linux\"]\n";
    fs::write(file, format!("{project}{systems}")).unwrap();
    let id = host.push(Some(manifest));
    host.run(id);
    insta::assert_snapshot!(host.outputs(id), @r"
    arm failed Nix made /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-arm, but no GC root for it; see the log
    both failed Nix made /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-both, but no GC root for it; see the log
    nowhere failed the flake has no packages.x86_64-linux.nowhere and no packages.aarch64-linux.nowhere, nor any other package for x86_64-linux or aarch64-linux
    ");
    let log = fs::read_to_string(host.directories(id).logs.join("arm.log")).unwrap();
    assert!(log.contains("[kennel] the flake has no packages.x86_64-linux.arm\n"), "{log}");
}

/// The fake's paths are not in this machine's store, so that no output here is ever built; what
/// becomes of real ones is tested on a host with Nix.
#[test]
fn one_bad_output_stops_no_other_and_each_has_its_reason_and_log() {
    let Some(mut host) = Host::new("one_bad_output") else { return };
    let id = host.push(Some("[services.api]\n[services.bad]\n[static_sites.killed]\n"));
    assert_eq!(host.run(id), Some(BuildState::Failed));
    insta::assert_snapshot!(host.outputs(id), @r"
    api failed Nix made /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api, but no GC root for it; see the log
    bad failed error: bad is bad
    killed failed nix was killed by signal 9 and said nothing
    ");
    insta::assert_snapshot!(host.reason(id), @r"
    3 of 3 outputs failed: api, bad, killed
    api: Nix made /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api, but no GC root for it; see the log
    bad: error: bad is bad
    killed: nix was killed by signal 9 and said nothing
    ");
    let directories = host.directories(id);
    let log = fs::read_to_string(directories.logs.join("api.log")).unwrap();
    assert!(log.starts_with("api> building\n[kennel] api failed after "), "{log}");
    assert!(!directories.work.exists());
    assert!(!directories.roots.exists());
    // Once over, it is not begun again.
    assert_eq!(host.run(id), None);
}

#[test]
fn what_cannot_begin_says_why() {
    let Some(mut host) = Host::new("what_cannot_begin") else { return };
    let id = host.push(None);
    assert_eq!(host.run(id), Some(BuildState::Failed));
    insta::assert_snapshot!(host.reason(id), @"kennel.toml is missing at the root of SHA; write one with [services.<name>], [workers.<name>], [timers.<name>] or [static_sites.<name>]");
    let id = host.push(Some("[services.api]\nhealthcheck = \"/\"\n"));
    assert_eq!(host.run(id), Some(BuildState::Failed));
    insta::assert_snapshot!(host.reason(id), @r#"
    kennel.toml:2: unknown key `healthcheck` in [services.api]; did you mean `health_check`?
      |
    2 | healthcheck = "/"
      | ^
    "#);
    let directories = host.directories(id);
    let log = fs::read_to_string(directories.logs.join("build.log")).unwrap();
    assert!(log.contains("unknown key `healthcheck`"), "{log}");

    fs::write(host.layout.config(), "base_domian = \"example.com\"\n").unwrap();
    let id = host.push(Some("[services.api]\n"));
    // Not the commit's fault: it waits until the operator has repaired it.
    assert_eq!(host.run(id), Some(BuildState::Queued));
    assert!(host.reason(id).contains("did you mean `base_domain`"), "{}", host.reason(id));
}

#[test]
fn files_in_the_place_of_kennel_toml() {
    let Some(mut host) = Host::new("files_in_the_place") else { return };
    let file = host.dir.path().join("source/kennel.toml");
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let id = host.queue();
    host.run(id);
    insta::assert_snapshot!(host.reason(id), @"kennel.toml is a symbolic link in SHA; it must be a plain file");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::write(file.join("x"), "").unwrap();
    let id = host.queue();
    host.run(id);
    insta::assert_snapshot!(host.reason(id), @"kennel.toml is a directory in SHA; it must be a plain file");
    fs::remove_dir_all(&file).unwrap();
    let id = host.push(Some(&"#".repeat(300_000)));
    host.run(id);
    insta::assert_snapshot!(host.reason(id), @"kennel.toml has 300000 bytes; at most 262144 are read");
}

#[test]
fn what_nobody_wants_any_more_is_not_built() {
    let Some(mut host) = Host::new("what_nobody_wants") else { return };
    let id = host.push(Some("[services.api]\n"));
    host.builds.claim(id, Timestamp::from_millis(2)).unwrap();
    host.builds.request_cancel(id, "cancelled by ada", Timestamp::from_millis(3)).unwrap();
    assert_eq!(host.run(id), Some(BuildState::Cancelled));
    assert_eq!(host.reason(id), "cancelled by ada");

    let old = host.push(Some("[services.api]\n"));
    host.builds.claim(old, Timestamp::from_millis(2)).unwrap();
    let new = host.push(Some("[services.api]\n[services.web]\n"));
    host.builds.supersede_running(old, new).unwrap();
    assert_eq!(host.run(old), Some(BuildState::Superseded));
    insta::assert_snapshot!(host.reason(old), @"a newer commit came first");
    assert!(!host.directories(old).roots.exists());
}
