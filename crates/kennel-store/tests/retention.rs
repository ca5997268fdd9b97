//! What is forgotten, and what stays however old it is, through the public API of the databases.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test, also in its helpers")]

use std::collections::BTreeSet;

use kennel_core::config::Manifest;
use kennel_core::{
    BuildEvent, BuildId, CommitSha, Delivery, DeploymentEvent, DeploymentId, Event, EventId, Forge,
    GitRef, OutputKey, ProjectName, Settings, Timestamp,
};
use kennel_store::{Access, Appended, Builds, Inbox, NewBuild, NewDeployment, Refs, Scope, State};

const AT: fn(i64) -> Timestamp = Timestamp::from_millis;

/// Everything up to here happened long ago.
const LONG_AGO: i64 = 100;

struct Fixture {
    _dir: tempfile::TempDir,
    inbox: Inbox,
    builds: Builds,
    state: State,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        Self {
            inbox: Inbox::open(&at("inbox.db"), Access::Patient).unwrap(),
            builds: Builds::open(&at("builds.db"), Access::Patient).unwrap(),
            state: State::open(&at("state.db"), Access::Patient).unwrap(),
            _dir: dir,
        }
    }

    /// A row that was taken at once.
    fn told(&mut self, event: Event, at: i64) -> EventId {
        let id = self.waits(event, at);
        self.inbox.consume(id, "done", AT(at)).unwrap();
        id
    }

    fn waits(&mut self, event: Event, at: i64) -> EventId {
        let delivery = Delivery {
            project: project(),
            forge: Some(Forge::Forgejo),
            delivery_id: None,
            received_at: AT(at),
            by: None,
            uid: None,
            event,
        };
        match self.inbox.append(&[delivery]).unwrap()[..] {
            [Appended::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    fn built(&mut self, request: i64, branch: &str, event: BuildEvent, at: i64) -> BuildId {
        let new = NewBuild {
            request: EventId::from_row(request),
            project: project(),
            git_ref: git_ref(branch),
            sha: sha(),
            by: None,
            received_at: AT(at),
            fork: false,
            needs_approval: false,
        };
        let id = self.builds.enqueue(&new, AT(at)).unwrap().id;
        self.builds.claim(id, AT(at)).unwrap();
        self.builds.step(id, event, None, AT(at)).unwrap();
        self.builds.handed_over(id).unwrap();
        self.builds.swept(id).unwrap();
        id
    }

    fn deployed(&mut self, request: i64, build: BuildId, branch: &str, at: i64) -> DeploymentId {
        let manifest = Manifest::parse("[services.api]", "kennel.toml").unwrap();
        let new = NewDeployment {
            fork: false,
            rollback_to: None,
            request: EventId::from_row(request),
            build,
            key: OutputKey {
                project: project(),
                git_ref: git_ref(branch),
                service: "api".parse().unwrap(),
            },
            sha: sha(),
            store_path: "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-x".parse().unwrap(),
            settings: Settings::Service(manifest.services.values().next().unwrap().clone()),
        };
        let id = self.state.create(&new, AT(at)).unwrap();
        self.state.claim(id, AT(at)).unwrap();
        id
    }

    fn failed(&mut self, id: DeploymentId, at: i64) {
        self.state.step(id, DeploymentEvent::Failed, None, AT(at)).unwrap();
        self.state.torn_down(id, AT(at)).unwrap();
    }

    fn torn_down(&mut self, branch: &str, at: i64) {
        let scope = Scope { project: project(), git_ref: git_ref(branch), service: None };
        for marked in self.state.begin_teardown(&scope, "test", AT(at)).unwrap() {
            self.state.torn_down(marked.id, AT(at)).unwrap();
        }
    }

    /// The places of those that are left.
    fn left(&self, events: &[EventId]) -> Vec<usize> {
        let is_there = |id: &EventId| {
            let known = self.inbox.outcome(*id).unwrap();
            let waiting = self.inbox.waiting(1000).unwrap();
            known.is_some() || waiting.iter().any(|entry| entry.id == *id)
        };
        let left = events.iter().enumerate().filter(|(_, id)| is_there(id));
        left.map(|(place, _)| place).collect()
    }

    /// The builds that are left after it, of the first so many.
    fn builds_left(&mut self, needed: &[BuildId], refs: &[&str]) -> Vec<i64> {
        let refs: Refs = refs.iter().map(|branch| (project(), git_ref(branch))).collect();
        let needed: BTreeSet<_> = needed.iter().copied().collect();
        self.builds.forget_before(AT(LONG_AGO), &needed, &refs).unwrap();
        (1..=9).filter(|id| self.builds.get(BuildId::from_row(*id)).unwrap().is_some()).collect()
    }
}

fn project() -> ProjectName {
    "shop".parse().unwrap()
}

fn git_ref(branch: &str) -> GitRef {
    format!("refs/heads/{branch}").parse().unwrap()
}

fn sha() -> CommitSha {
    "a".repeat(40).parse().unwrap()
}

fn push(branch: &str) -> Event {
    Event::Push { branch: branch.parse().unwrap(), sha: sha() }
}

fn deleted(branch: &str) -> Event {
    Event::BranchDeleted { branch: branch.parse().unwrap() }
}

fn tear_down(branch: &str) -> Event {
    Event::TearDown { git_ref: git_ref(branch), service: None }
}

#[test]
fn of_each_branch_the_newest_fact_and_the_newest_end_stay() {
    let mut it = Fixture::new();
    let events = [
        it.told(push("main"), 1),
        it.told(deleted("main"), 2),
        it.told(push("main"), 3),
        it.told(tear_down("main"), 4),
        it.told(tear_down("main"), 5),
        it.told(push("main"), 6),
        it.told(Event::Expired { git_ref: git_ref("main") }, 7),
        it.told(push("gone"), 8),
        it.told(deleted("gone"), 9),
        it.told(push("ends"), 10),
        it.told(deleted("ends"), LONG_AGO),
        it.told(push("new"), LONG_AGO),
        it.waits(push("waits"), 1),
    ];
    assert_eq!(it.inbox.forget_before(AT(LONG_AGO)).unwrap(), 8);
    assert_eq!(it.left(&events), [4, 5, 10, 11, 12]);
    let living: Vec<_> =
        it.inbox.living().unwrap().iter().map(|(_, it)| it.short().to_string()).collect();
    assert_eq!(living, ["main", "new", "waits"]);
    assert_eq!(it.inbox.forget_before(AT(LONG_AGO)).unwrap(), 0);
}

#[test]
fn builds_of_what_is_there_and_the_newest_of_living_branches_stay() {
    let mut it = Fixture::new();
    let deployed = it.built(1, "main", BuildEvent::Succeeded, 1);
    it.built(2, "main", BuildEvent::Failed, 2);
    it.built(3, "main", BuildEvent::PartlyFailed, 3);
    it.built(4, "main", BuildEvent::Failed, 4);
    it.built(5, "main", BuildEvent::Failed, 5);
    it.built(6, "gone", BuildEvent::Succeeded, 6);
    it.built(7, "gone", BuildEvent::Succeeded, LONG_AGO);
    assert_eq!(it.builds_left(&[deployed], &["main"]), [1, 3, 5, 7]);
    assert_eq!(it.builds_left(&[], &[]), [7]);
}

#[test]
fn a_build_that_is_not_over_stays() {
    let mut it = Fixture::new();
    let queued = NewBuild {
        request: EventId::from_row(1),
        project: project(),
        git_ref: git_ref("main"),
        sha: sha(),
        by: None,
        received_at: AT(1),
        fork: false,
        needs_approval: false,
    };
    it.builds.enqueue(&queued, AT(1)).unwrap();
    let waits = NewBuild {
        request: EventId::from_row(2),
        git_ref: git_ref("theirs"),
        needs_approval: true,
        ..queued.clone()
    };
    it.builds.enqueue(&waits, AT(1)).unwrap();
    // Nobody has made deployments of it, nor looked at what its run has left.
    let ended = NewBuild { request: EventId::from_row(3), git_ref: git_ref("x"), ..queued };
    let ended = it.builds.enqueue(&ended, AT(1)).unwrap().id;
    it.builds.claim(ended, AT(1)).unwrap();
    it.builds.step(ended, BuildEvent::Succeeded, None, AT(1)).unwrap();
    assert_eq!(it.builds_left(&[], &[]), [1, 2, 3]);
    it.builds.handed_over(ended).unwrap();
    assert_eq!(it.builds_left(&[], &[]), [1, 2, 3]);
    it.builds.swept(ended).unwrap();
    assert_eq!(it.builds_left(&[], &[]), [1, 2]);
}

#[test]
fn deployments_that_are_there_stay_and_what_the_next_one_is_compared_with() {
    let mut it = Fixture::new();
    let build = BuildId::from_row(1);
    let old = it.deployed(1, build, "main", 1);
    it.failed(old, 1);
    // Of a push that arrived last, and not the last that was deployed.
    let latest = it.deployed(9, build, "main", 2);
    it.failed(latest, 2);
    let newest = it.deployed(5, build, "main", 3);
    it.failed(newest, 3);
    let serves = it.deployed(10, build, "other", 4);
    let gone = it.deployed(11, build, "gone", 5);
    it.torn_down("gone", 5);
    let there = |it: &Fixture| -> Vec<_> {
        let all = [old, latest, newest, serves, gone];
        all.into_iter().filter(|id| it.state.get(*id).unwrap().is_some()).collect()
    };
    assert_eq!(it.state.forget_before(AT(5)).unwrap(), 1);
    assert_eq!(there(&it), [latest, newest, serves, gone]);
    assert_eq!(it.state.forget_before(AT(LONG_AGO)).unwrap(), 1);
    assert_eq!(there(&it), [latest, newest, serves]);
    let (builds, refs) = it.state.deployed_builds().unwrap();
    assert_eq!(builds, [build].into());
    assert_eq!(refs, [(project(), git_ref("main")), (project(), git_ref("other"))].into());
    it.torn_down("main", 6);
    it.torn_down("other", 6);
    assert_eq!(it.state.forget_before(AT(LONG_AGO)).unwrap(), 3);
    assert_eq!(it.state.deployed_builds().unwrap(), (BTreeSet::new(), Refs::new()));
}
