//! The mirror against real git repositories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kennel_build::{Directories, FetchError, Found, Leash, Mirror, Wanted};
use kennel_core::config::RepoUrl;
use kennel_core::{BuildId, CommitSha, GitRef, Layout};

use crate::{PROGRAM, no_landlock};

struct Forge {
    dir: tempfile::TempDir,
    leash: Leash,
    layout: Layout,
}

impl Forge {
    /// None where the kernel cannot confine git: said by name, never passed over in silence.
    fn new(test: &str, init: &[&str]) -> Option<Self> {
        if no_landlock(test) {
            return None;
        }
        let leash = Leash::with_confiner(PROGRAM);
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        let forge = Self { dir, leash, layout };
        let mut arguments = vec!["init", "--quiet", "--initial-branch=main"];
        arguments.extend(init);
        fs::create_dir(forge.source()).unwrap();
        forge.git(&arguments);
        Some(forge)
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(self.source())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, text: &str) -> CommitSha {
        fs::write(self.source().join("file"), text).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", text]);
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn url(&self) -> RepoUrl {
        format!("file://{}", self.source().display()).parse().unwrap()
    }

    fn directories(&self, build: i64) -> Directories {
        let project = "demo".parse().unwrap();
        let directories = Directories::new(&self.layout, &project, BuildId::from_row(build));
        directories.make().unwrap();
        directories
    }

    fn fetch(&self, build: i64, git_ref: &str, sha: &CommitSha) -> Result<Found, FetchError> {
        self.fetch_from(&self.url(), build, git_ref, sha)
    }

    fn fetch_from(
        &self,
        url: &RepoUrl,
        build: i64,
        git_ref: &str,
        sha: &CommitSha,
    ) -> Result<Found, FetchError> {
        let directories = self.directories(build);
        let mirror = Mirror::new(&self.leash, &directories, url)?.pausing(&[Duration::ZERO; 2]);
        let git_ref: GitRef = git_ref.parse().unwrap();
        let build = BuildId::from_row(build);
        let (found, ()) = mirror.fetch(&Wanted { build, git_ref: &git_ref, sha }, |_| ())?;
        assert_eq!(self.mirrored(build), sha.as_str());
        Ok(found)
    }

    /// What a build's own ref points at.
    fn mirrored(&self, build: BuildId) -> String {
        let name = Mirror::build_ref(build);
        self.git(&["--git-dir", self.mirror().to_str().unwrap(), "rev-parse", &name])
    }

    fn mirror(&self) -> PathBuf {
        self.layout.mirror(&"demo".parse().unwrap())
    }

    /// A message without this run's paths and ids.
    fn shown(&self, error: &FetchError) -> String {
        error.to_string().replace(self.dir.path().to_str().unwrap(), "/DIR")
    }
}

#[test]
fn follows_a_branch() {
    let Some(forge) = Forge::new("follows_a_branch", &[]) else { return };
    let one = forge.commit("one");
    assert_eq!(forge.fetch(1, "refs/heads/main", &one).unwrap(), Found::Tip);
    assert_eq!(forge.fetch(1, "refs/heads/main", &one).unwrap(), Found::Already);
    let two = forge.commit("two");
    let three = forge.commit("three");
    assert_eq!(forge.fetch(2, "refs/heads/main", &two).unwrap(), Found::Passed);
    assert_eq!(forge.fetch(3, "refs/heads/main", &three).unwrap(), Found::Tip);
    // A pull request is a ref of the base repository.
    forge.git(&["update-ref", "refs/pull/5/head", one.as_str()]);
    assert_eq!(forge.fetch(4, "refs/pull/5/head", &one).unwrap(), Found::Tip);
}

#[test]
fn a_plain_path_and_a_bare_repository_are_urls_too() {
    let Some(forge) = Forge::new("a_plain_path", &["--bare"]) else { return };
    let tree = forge.git(&["mktree"]);
    let sha: CommitSha = forge.git(&["commit-tree", "-m", "x", &tree]).parse().unwrap();
    forge.git(&["update-ref", "refs/heads/main", sha.as_str()]);
    let url = forge.source().to_str().unwrap().parse().unwrap();
    assert_eq!(forge.fetch_from(&url, 1, "refs/heads/main", &sha).unwrap(), Found::Tip);
}

#[test]
fn force_pushes() {
    let Some(forge) = Forge::new("force_pushes", &[]) else { return };
    let base = forge.commit("base");
    let lost = forge.commit("lost");
    forge.git(&["reset", "--quiet", "--hard", base.as_str()]);
    let new = forge.commit("new");
    // The forge still has it, and gives it.
    assert_eq!(forge.fetch(1, "refs/heads/main", &lost).unwrap(), Found::Aside);
    assert_eq!(forge.fetch(2, "refs/heads/main", &new).unwrap(), Found::Tip);

    fs::remove_dir_all(forge.mirror()).unwrap();
    forge.git(&["reflog", "expire", "--expire=now", "--all"]);
    forge.git(&["gc", "--quiet", "--prune=now"]);
    let error = forge.fetch(3, "refs/heads/main", &lost).unwrap_err();
    let shown = forge.shown(&error).replace(lost.short(), "SHA");
    insta::assert_snapshot!(shown, @"refs/heads/main no longer contains SHA, and the forge does not give it any more; the newer push is built instead");
    // And nothing else passes for it.
    assert!(!forge.mirror().join("refs/kennel/builds/3").exists());
}

#[test]
fn a_deleted_branch_is_not_built() {
    let Some(forge) = Forge::new("a_deleted_branch", &[]) else { return };
    let sha = forge.commit("one");
    let error = forge.fetch(1, "refs/heads/gone", &sha).unwrap_err();
    insta::assert_snapshot!(forge.shown(&error), @"refs/heads/gone is no longer in file:///DIR/source; nothing is built for it");
}

#[test]
fn branches_may_replace_directories_of_branches() {
    let Some(forge) = Forge::new("branches_may_replace", &[]) else { return };
    let sha = forge.commit("one");
    forge.git(&["branch", "a"]);
    forge.fetch(1, "refs/heads/a", &sha).unwrap();
    forge.git(&["branch", "--delete", "a"]);
    forge.git(&["branch", "a/b"]);
    forge.fetch(2, "refs/heads/a/b", &sha).unwrap();
}

#[test]
fn names_that_a_shell_or_git_would_read() {
    let Some(forge) = Forge::new("names_that_a_shell", &[]) else { return };
    let sha = forge.commit("one");
    for (build, branch) in (1..).zip([
        "$(touch${IFS}pwned)",
        "`touch`pwned",
        "a'b\"c",
        "%n;rm",
        "x--upload-pack=y",
        "ü",
    ]) {
        let name = format!("refs/heads/{branch}");
        forge.git(&["update-ref", &name, sha.as_str()]);
        assert_eq!(forge.fetch(build, &name, &sha).unwrap(), Found::Tip, "{branch}");
    }
    assert!(!forge.directories(1).work.join("pwned").exists());
    // What only looks like a branch never gets here.
    for bad in ["refs/heads/-x", "refs/heads/a:b", "refs/heads/+a", "refs/heads/*"] {
        let parsed: Result<GitRef, _> = bad.parse();
        assert!(parsed.is_err() || bad.contains('+'), "{bad}");
    }
}

#[test]
fn repositories_with_sha256() {
    let Some(forge) = Forge::new("repositories_with_sha256", &["--object-format=sha256"]) else {
        return;
    };
    let sha = forge.commit("one");
    assert_eq!(sha.as_str().len(), 64);
    assert_eq!(forge.fetch(1, "refs/heads/main", &sha).unwrap(), Found::Tip);
    // The project's repository is replaced by one with SHA-1.
    fs::remove_dir_all(forge.source()).unwrap();
    fs::create_dir(forge.source()).unwrap();
    forge.git(&["init", "--quiet", "--initial-branch=main"]);
    let sha = forge.commit("two");
    assert_eq!(forge.fetch(2, "refs/heads/main", &sha).unwrap(), Found::Tip);
}

#[test]
fn broken_mirrors_are_made_anew() {
    let Some(forge) = Forge::new("broken_mirrors", &[]) else { return };
    let one = forge.commit("one");
    forge.fetch(1, "refs/heads/main", &one).unwrap();
    let packs = forge.mirror().join("objects/pack");
    let each_pack = |change: &dyn Fn(&Path)| {
        for entry in fs::read_dir(&packs).unwrap() {
            change(&entry.unwrap().path());
        }
    };
    let breakages: [(&str, &dyn Fn()); 6] = [
        ("packs gone", &|| each_pack(&|path| fs::remove_file(path).unwrap())),
        ("packs cut", &|| {
            each_pack(&|path| {
                let bytes = fs::read(path).unwrap();
                fs::remove_file(path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            });
        }),
        ("no HEAD", &|| fs::remove_file(forge.mirror().join("HEAD")).unwrap()),
        ("a config that is none", &|| fs::write(forge.mirror().join("config"), "[x").unwrap()),
        ("a ref that is none", &|| {
            fs::write(forge.mirror().join("refs/kennel/builds/1"), "").unwrap();
        }),
        ("half of an init", &|| {
            fs::remove_dir_all(forge.mirror().join("objects")).unwrap();
            fs::remove_dir_all(forge.mirror().join("refs")).unwrap();
        }),
    ];
    for (build, (name, breakage)) in (2..).zip(breakages) {
        breakage();
        // Both a commit that was there and one that was not.
        let result = forge.fetch(1, "refs/heads/main", &one);
        assert!(result.is_ok(), "{name}: {result:?}");
        breakage();
        let new = forge.commit(name);
        let result = forge.fetch(build, "refs/heads/main", &new);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn what_a_killed_git_left_is_cleared() {
    let Some(forge) = Forge::new("what_a_killed_git_left", &[]) else { return };
    let one = forge.commit("one");
    forge.fetch(1, "refs/heads/main", &one).unwrap();
    let mirror = forge.mirror();
    for lock in ["packed-refs.lock", "config.lock", "refs/kennel/builds/2.lock", "HEAD.lock"] {
        fs::write(mirror.join(lock), "").unwrap();
    }
    fs::write(mirror.join("objects/pack/tmp_pack_abc"), "half").unwrap();
    let two = forge.commit("two");
    assert_eq!(forge.fetch(2, "refs/heads/main", &two).unwrap(), Found::Tip);
    assert!(!mirror.join("objects/pack/tmp_pack_abc").exists());
}

#[test]
fn a_forge_that_is_down_is_asked_three_times() {
    let Some(forge) = Forge::new("a_forge_that_is_down", &[]) else { return };
    let sha = forge.commit("one");
    let url = "http://127.0.0.1:1/demo.git".parse().unwrap();
    let error = forge.fetch_from(&url, 1, "refs/heads/main", &sha).unwrap_err();
    let FetchError::Network { tries, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*tries, 3);
    let url = format!("file://{}/none", forge.dir.path().display()).parse().unwrap();
    let error = forge.fetch_from(&url, 1, "refs/heads/main", &sha).unwrap_err();
    insta::assert_snapshot!(forge.shown(&error), @r"
    file:///DIR/none cannot be read; does it exist, and may this host read it? fatal: '/DIR/none' does not appear to be a git repository
    fatal: Could not read from remote repository.
    ");
}

/// A forge that accepts and says nothing; git's own limits do not see it.
#[test]
fn a_forge_that_is_silent_is_left() {
    let Some(forge) = Forge::new("a_forge_that_is_silent", &[]) else { return };
    let sha = forge.commit("one");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("git://127.0.0.1:{port}/demo.git").parse().unwrap();
    let directories = forge.directories(1);
    let mirror = Mirror::new(&forge.leash, &directories, &url).unwrap();
    // The first commands make the mirror, and need less.
    let mirror = mirror.waiting(Duration::from_secs(3));
    let (build, git_ref) = (BuildId::from_row(1), "refs/heads/main".parse().unwrap());
    let error = mirror.fetch(&Wanted { build, git_ref: &git_ref, sha: &sha }, |_| ()).unwrap_err();
    assert!(matches!(error, FetchError::Late { .. }), "{error:?}");
    // The other end is gone too: git's helpers go with it.
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
}

/// Git refuses to serve a repository of another owner, unless its configuration file says so.
#[test]
fn a_source_of_another_owner_can_be_fetched() {
    let Some(forge) = Forge::new("a_source_of_another_owner", &[]) else { return };
    let sha = forge.commit("one");
    let given = Command::new("chown").args(["-R", "1234"]).arg(forge.source()).output().unwrap();
    if !given.status.success() {
        println!("skipped: a_source_of_another_owner_can_be_fetched: only root gives files away");
        return;
    }
    assert_eq!(forge.fetch(1, "refs/heads/main", &sha).unwrap(), Found::Tip);
}

#[test]
fn the_mirror_keeps_the_refs_of_the_last_builds() {
    let Some(forge) = Forge::new("the_mirror_keeps", &[]) else { return };
    let sha = forge.commit("one");
    forge.fetch(1, "refs/heads/main", &sha).unwrap();
    let refs = forge.mirror().join("refs/kennel/builds");
    for build in 2..=230 {
        fs::write(refs.join(build.to_string()), format!("{sha}\n")).unwrap();
    }
    let directories = forge.directories(230);
    let url = forge.url();
    Mirror::new(&forge.leash, &directories, &url).unwrap().tidy().unwrap();
    let listed = forge.git(&[
        "--git-dir",
        forge.mirror().to_str().unwrap(),
        "for-each-ref",
        "--format=%(refname:lstrip=3)",
        "--sort=version:refname",
    ]);
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!((listed.len(), listed.first()), (200, Some(&"31")));
}
