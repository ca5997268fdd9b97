//! Looks at real repositories, with real git behind its fence.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a test's way to fail")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kennel_build::Leash;
use kennel_core::{Delivery, Event, Layout, Timestamp};
use kennel_poll::Poller;
use kennel_store::{Access, Inbox, Look};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kennel-poll");

/// Far more than git needs, for a forge that does answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host's files, and repositories beside them.
struct Host {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl Host {
    /// None where the kernel cannot confine git: said by name, never passed over in silence.
    fn new(test: &str) -> Option<Self> {
        let probe = Command::new(PROGRAM).args(["confined", "--", "true"]).output();
        if !probe.unwrap().status.success() {
            println!("skipped: {test}: this kernel has no Landlock");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path().join("host"));
        for path in [layout.inbox_db(), layout.poll_lock(), layout.projects().join("x")] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        Some(Self { dir, layout })
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.git"))
    }

    /// A project with an empty repository.
    fn project(&self, name: &str) -> PathBuf {
        let repository = self.repository(name);
        fs::create_dir_all(&repository).unwrap();
        git(&repository, &["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        self.configure(name, &format!("file://{}", repository.display()));
        repository
    }

    fn configure(&self, name: &str, url: &str) {
        let path = self.layout.projects().join(format!("{name}.toml"));
        fs::write(path, format!("repo_url = \"{url}\"\n")).unwrap();
    }

    /// Looks at all of `projects`, however their forges have been.
    fn look(&self, projects: &[&str], patience: Duration) {
        let leash = Leash::with_confiner(PROGRAM);
        let projects: Vec<_> = projects.iter().map(|name| name.parse().unwrap()).collect();
        Poller::new(&self.layout, &leash).waiting(patience).run(&projects).unwrap();
    }

    /// What the inbox has beyond its first `known` rows, as `<branch> <commit>`.
    fn found(&self, known: usize) -> Vec<String> {
        let rows = self.inbox().waiting(100).unwrap();
        let line = |Delivery { project, event, by, .. }: Delivery| match event {
            Event::Push { branch, sha } => format!("{project} {branch} {sha}"),
            Event::BranchDeleted { branch } => {
                assert_eq!(by.as_deref(), Some("kennel-poll"));
                format!("{project} {branch} gone")
            }
            other => panic!("{other:?}"),
        };
        rows.into_iter().skip(known).map(|row| line(row.delivery)).collect()
    }

    fn trouble(&self, project: &str) -> Option<String> {
        let look = Look::load(&self.layout, &project.parse().unwrap()).unwrap();
        look.unwrap().trouble
    }

    fn inbox(&self) -> Inbox {
        Inbox::open(&self.layout.inbox_db(), Access::Patient).unwrap()
    }

    /// As the receiver does.
    fn tell(&self, project: &str, branch: &str, sha: &str) {
        let delivery = Delivery {
            project: project.parse().unwrap(),
            forge: Some(kennel_core::Forge::Forgejo),
            delivery_id: None,
            received_at: Timestamp::from_millis(1),
            by: None,
            uid: None,
            event: Event::Push { branch: branch.parse().unwrap(), sha: sha.parse().unwrap() },
        };
        self.inbox().append(&[delivery]).unwrap();
    }
}

fn git(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(repository)
        .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_COMMITTER_NAME", "Ann")])
        .envs([("GIT_AUTHOR_EMAIL", "a@example.org"), ("GIT_COMMITTER_EMAIL", "a@example.org")])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Puts a new commit on a branch.
fn commit(repository: &Path, branch: &str, text: &str) -> String {
    let tree = git(repository, &["mktree"]);
    let sha = git(repository, &["commit-tree", &tree, "-m", text]);
    git(repository, &["update-ref", &format!("refs/heads/{branch}"), &sha]);
    sha
}

#[test]
fn what_nobody_told_of_is_found_once() {
    let Some(host) = Host::new("what_nobody_told_of_is_found_once") else { return };
    let shop = host.project("shop");
    let main = commit(&shop, "main", "one");
    commit(&shop, "old", "from another time");
    host.look(&[], PATIENCE);
    assert_eq!(host.found(0), [format!("shop main {main}")], "a first look");
    host.look(&[], PATIENCE);
    assert_eq!(host.found(1), [""; 0], "a second look");

    let told = commit(&shop, "main", "two");
    host.tell("shop", "main", &told);
    let feature = commit(&shop, "feature/x", "three");
    let old = commit(&shop, "old", "four");
    host.look(&[], PATIENCE);
    assert_eq!(host.found(2), [format!("shop feature/x {feature}"), format!("shop old {old}")]);

    git(&shop, &["update-ref", "-d", "refs/heads/feature/x"]);
    git(&shop, &["update-ref", "refs/heads/main", &main]);
    host.look(&[], PATIENCE);
    assert_eq!(host.found(4), [format!("shop main {main}"), "shop feature/x gone".to_owned()]);
    host.look(&[], PATIENCE);
    assert_eq!(host.found(6), [""; 0]);
    assert!(fs::read_dir(host.layout.poll_work(&"shop".parse().unwrap())).is_err());
}

#[test]
fn a_forge_that_does_not_say_so_has_lost_nothing() {
    let Some(host) = Host::new("a_forge_that_does_not_say_so_has_lost_nothing") else { return };
    let shop = host.project("shop");
    let main = commit(&shop, "main", "one");
    host.tell("shop", "main", &main);
    let feature = commit(&shop, "feature/x", "two");
    host.tell("shop", "feature/x", &feature);
    host.look(&["shop"], PATIENCE);
    assert_eq!(host.trouble("shop"), None);

    let aside = host.repository("aside");
    fs::rename(&shop, &aside).unwrap();
    host.look(&["shop"], PATIENCE);
    let url = format!("file://{}", shop.display());
    let said = host.trouble("shop").unwrap();
    assert!(said.starts_with(&format!("{url} cannot be read; does it exist")), "{said}");
    // An empty one in its place.
    host.project("shop");
    host.look(&["shop"], PATIENCE);
    let said = host.trouble("shop").unwrap();
    assert!(said.starts_with(&format!("{url} has no branch main;")), "{said}");
    assert_eq!(host.found(2), [""; 0]);

    fs::remove_dir_all(&shop).unwrap();
    fs::rename(&aside, &shop).unwrap();
    git(&shop, &["update-ref", "-d", "refs/heads/feature/x"]);
    host.look(&["shop"], PATIENCE);
    assert_eq!(host.found(2), ["shop feature/x gone"]);
    assert_eq!(host.trouble("shop"), None);
}

#[test]
fn forges_that_hang_keep_no_other_waiting() {
    let Some(host) = Host::new("forges_that_hang_keep_no_other_waiting") else { return };
    // Accepts connections, by the kernel's backlog, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let hanging: Vec<String> = (0..3).map(|number| format!("a{number}")).collect();
    for name in &hanging {
        host.configure(name, &format!("http://127.0.0.1:{port}/{name}.git"));
    }
    let shop = host.project("shop");
    let main = commit(&shop, "main", "one");
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| host.look(&[], Duration::from_secs(10)));
        while host.found(0).is_empty() {
            assert!(!looking.is_finished(), "it was not found");
            std::thread::yield_now();
        }
        assert_eq!(host.found(0), [format!("shop main {main}")]);
    });
    for name in &hanging {
        let said = host.trouble(name).unwrap();
        assert!(said.contains("has not answered within 10 s"), "{said}");
    }
    // Left alone for a while: a look at all is over before anybody is asked.
    host.look(&[], Duration::from_secs(3600));
}

#[test]
fn projects_that_are_gone_are_forgotten() {
    let Some(host) = Host::new("projects_that_are_gone_are_forgotten") else { return };
    commit(&host.project("shop"), "main", "one");
    host.look(&[], PATIENCE);
    let look = host.layout.look(&"shop".parse().unwrap());
    assert!(look.exists());
    fs::remove_file(host.layout.projects().join("shop.toml")).unwrap();
    host.look(&[], PATIENCE);
    assert!(!look.exists());
}
