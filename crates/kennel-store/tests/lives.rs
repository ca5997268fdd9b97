//! How long branches stay, through the public API of state.db and builds.db.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test, also in its helpers")]

use std::time::Duration;

use kennel_core::config::{HostConfig, Manifest, ProjectConfig};
use kennel_core::{
    BuildEvent, BuildId, DeploymentId, EventId, GitRef, OutputKey, ProjectName, Settings, Timestamp,
};
use kennel_store::{Access, Builds, Life, NewBuild, NewDeployment, Scope, State, StoreError};

const HOUR: i64 = 3600 * 1000;
const AT: fn(i64) -> Timestamp = |hours| Timestamp::from_millis(hours * HOUR);

struct Fixture {
    _dir: tempfile::TempDir,
    state: State,
    builds: Builds,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        let builds = Builds::open(&dir.path().join("builds.db"), Access::Patient).unwrap();
        Self { _dir: dir, state, builds }
    }

    /// A build that was asked for at this hour and has ended.
    fn built(&mut self, request: i64, git_ref: &str, hour: i64) -> BuildId {
        let id = self.asked_for(request, git_ref, hour);
        self.builds.claim(id, AT(hour)).unwrap();
        self.builds.step(id, BuildEvent::Failed, None, AT(hour)).unwrap();
        id
    }

    fn asked_for(&mut self, request: i64, git_ref: &str, hour: i64) -> BuildId {
        let new = NewBuild {
            request: EventId::from_row(request),
            project: site(),
            git_ref: git_ref.parse().unwrap(),
            sha: "a".repeat(40).parse().unwrap(),
            by: None,
            received_at: AT(hour),
            fork: false,
            needs_approval: false,
        };
        self.builds.enqueue(&new, AT(hour)).unwrap().id
    }

    fn deployed(&mut self, request: i64, git_ref: &str, fork: bool, hour: i64) -> DeploymentId {
        let manifest = Manifest::parse("[services.api]", "kennel.toml").unwrap();
        let new = NewDeployment {
            fork,
            rollback_to: None,
            request: EventId::from_row(request),
            build: BuildId::from_row(request),
            key: OutputKey {
                project: site(),
                git_ref: git_ref.parse().unwrap(),
                service: "api".parse().unwrap(),
            },
            sha: "a".repeat(40).parse().unwrap(),
            store_path: "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-x".parse().unwrap(),
            settings: Settings::Service(manifest.services.values().next().unwrap().clone()),
        };
        self.state.create(&new, AT(hour)).unwrap()
    }

    fn used(&mut self, id: DeploymentId, hour: i64, now: i64) {
        self.state.used(&[(id, AT(hour))].into(), AT(now)).unwrap();
    }

    fn life(&self, git_ref: &str) -> Option<Life> {
        let git_ref: GitRef = git_ref.parse().unwrap();
        let lives = self.state.lives(&self.builds).unwrap();
        lives.into_iter().find(|life| life.git_ref == git_ref)
    }

    /// The hour at which a branch goes, by a host where that takes 48 of them.
    fn end(&self, git_ref: &str) -> Option<i64> {
        let host = "base_domain = \"example.com\"\n[expiry]\nafter = \"2d\"";
        let host = HostConfig::parse(host, "config.toml").unwrap();
        let project =
            ProjectConfig::parse(site(), "repo_url = \"/srv/site.git\"", "site.toml").unwrap();
        Some(self.life(git_ref)?.ends_at(&project, &host)?.millis() / HOUR)
    }

    fn tear_down(&mut self, git_ref: &str) -> Result<usize, StoreError> {
        let scope = Scope { project: site(), git_ref: git_ref.parse().unwrap(), service: None };
        Ok(self.state.begin_teardown(&scope, "test", AT(0))?.len())
    }
}

const X: &str = "refs/heads/x";
const PULL: &str = "refs/pull/5/head";

fn site() -> ProjectName {
    "site".parse().unwrap()
}

#[test]
fn pushes_and_visits_keep_a_branch() {
    let mut it = Fixture::new();
    assert_eq!(it.end(X), None);
    let id = it.deployed(1, X, false, 10);
    assert_eq!(it.end(X), Some(58));
    // A push whose build fails is a push.
    it.built(2, X, 12);
    assert_eq!(it.end(X), Some(60));
    it.used(id, 15, 16);
    assert_eq!(it.end(X), Some(63));
    it.used(id, 14, 16);
    assert_eq!(it.end(X), Some(63), "an older visit");
    it.deployed(3, "refs/heads/main", false, 1);
    assert_eq!(it.end("refs/heads/main"), None);
}

#[test]
fn what_is_being_built_does_not_go() {
    let mut it = Fixture::new();
    it.deployed(1, X, false, 10);
    let build = it.asked_for(2, X, 11);
    assert_eq!(it.end(X), None);
    it.builds.step(build, BuildEvent::Cancelled, None, AT(12)).unwrap();
    assert_eq!(it.end(X), Some(59));
}

#[test]
fn visits_keep_no_fork() {
    let mut it = Fixture::new();
    let id = it.deployed(1, PULL, true, 10);
    it.used(id, 20, 21);
    assert_eq!(it.end(PULL), Some(34));
    it.built(2, PULL, 12);
    assert_eq!(it.end(PULL), Some(36));
}

#[test]
fn a_clock_that_was_wrong_keeps_nothing() {
    let mut it = Fixture::new();
    let id = it.deployed(1, X, false, 10);
    it.used(id, 9000, 12);
    assert_eq!(it.end(X), Some(60));
    // Written while the clock itself was wrong, and set right since.
    it.used(id, 9000, 9000);
    it.used(id, 13, 14);
    assert_eq!(it.end(X), Some(62));
}

#[test]
fn a_wish_counts_once_and_goes_with_its_branch() {
    let mut it = Fixture::new();
    let id = it.deployed(1, X, false, 10);
    let (project, git_ref) = (site(), X.parse().unwrap());
    let until = AT(58).plus(Duration::from_secs(3600));
    it.state.keep(&project, &git_ref, until, EventId::from_row(7)).unwrap();
    it.state.keep(&project, &git_ref, AT(500), EventId::from_row(7)).unwrap();
    assert_eq!(it.end(X), Some(59));
    it.used(id, 20, 20);
    assert_eq!(it.end(X), Some(68), "it is used for longer than it was to be kept");
    it.state.keep(&project, &git_ref, AT(500), EventId::from_row(8)).unwrap();
    assert_eq!(it.end(X), Some(500));

    assert_eq!(it.tear_down(X).unwrap(), 1);
    assert_eq!(it.life(X), None);
    it.used(id, 21, 21);
    it.state.torn_down(id, AT(22)).unwrap();
    it.deployed(9, X, false, 30);
    assert_eq!(it.end(X), Some(78), "nothing is left of the one before");
}

#[test]
fn what_is_pinned_does_not_go() {
    let mut it = Fixture::new();
    it.deployed(1, X, false, 10);
    let scope = Scope {
        project: site(),
        git_ref: X.parse().unwrap(),
        service: Some("api".parse().unwrap()),
    };
    it.state.pin(&scope, None, AT(11)).unwrap();
    assert_eq!(it.end(X), None);
    it.state.unpin(&scope).unwrap();
    assert_eq!(it.end(X), Some(58));
}
