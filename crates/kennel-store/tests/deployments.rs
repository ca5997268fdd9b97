//! state.db through its public API: who wins, what is freed, who is called what.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test, also in its helpers")]

use std::time::Duration;

use kennel_core::config::Manifest;
use kennel_core::{
    BuildId, DeploymentEvent, DeploymentId, DeploymentState, EventId, HostName, HostPattern,
    OutputKey, Port, Settings, Timestamp,
};
use kennel_store::{Access, NewDeployment, Scope, State, StoreError};

const NOW: fn(i64) -> Timestamp = Timestamp::from_millis;

struct Fixture {
    dir: tempfile::TempDir,
    state: State,
    requests: i64,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        Self { dir, state, requests: 0 }
    }

    fn key(branch: &str, service: &str) -> OutputKey {
        OutputKey {
            project: "site".parse().unwrap(),
            git_ref: format!("refs/heads/{branch}").parse().unwrap(),
            service: service.parse().unwrap(),
        }
    }

    fn create_as(&mut self, request: i64, branch: &str, service: &str) -> DeploymentId {
        let manifest = format!(
            "[services.{service}]\ncustom_domain = \"{service}.example.org\"\nredirect_from = [\"www.example.org\"]"
        );
        let manifest = Manifest::parse(&manifest, "kennel.toml").unwrap();
        let new = NewDeployment {
            fork: false,
            rollback_to: None,
            request: EventId::from_row(request),
            build: BuildId::from_row(request),
            key: Self::key(branch, service),
            sha: "a".repeat(40).parse().unwrap(),
            store_path: "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-x".parse().unwrap(),
            settings: Settings::Service(manifest.services.values().next().unwrap().clone()),
        };
        self.state.create(&new, NOW(request)).unwrap()
    }

    fn create(&mut self, branch: &str, service: &str) -> DeploymentId {
        self.requests += 1;
        self.create_as(self.requests, branch, service)
    }

    fn activate(&mut self, id: DeploymentId) -> Vec<DeploymentId> {
        self.state.claim(id, NOW(1)).unwrap();
        self.reserve(id, 18000, 18009);
        self.state.set_routed(id, true).unwrap();
        let replaced = self.state.activate(id, NOW(5), NOW(2)).unwrap();
        replaced.iter().map(|old| old.id).collect()
    }

    fn reserve(&mut self, id: DeploymentId, first: u16, last: u16) -> u16 {
        let port = |port| Port::try_from(port).unwrap();
        self.state.reserve_port(id, port(first), port(last), |_| true).unwrap().get()
    }

    fn state_of(&self, id: DeploymentId) -> DeploymentState {
        self.state.get(id).unwrap().unwrap().state
    }

    fn routed(&mut self) -> (u64, Vec<DeploymentId>) {
        let (generation, rows) = self.state.publication().unwrap();
        (generation, rows.iter().map(|row| row.id).collect())
    }
}

#[test]
fn handing_a_build_over_twice_makes_one_deployment() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.create_as(1, "main", "api"), fixture.create_as(1, "main", "api"));
}

#[test]
fn the_newest_request_wins_in_whatever_order_builds_end() {
    let mut fixture = Fixture::new();
    let waiting = fixture.create_as(1, "main", "api");
    let newest = fixture.create_as(3, "main", "api");
    let late = fixture.create_as(2, "main", "api");
    assert_eq!(fixture.state_of(waiting), DeploymentState::Superseded);
    assert_eq!(fixture.state_of(newest), DeploymentState::Pending);
    assert_eq!(fixture.state_of(late), DeploymentState::Superseded);
    // Also against one that serves.
    fixture.activate(newest);
    let later = fixture.create_as(2, "main", "web");
    assert_eq!(fixture.state_of(later), DeploymentState::Pending, "another service");
}

#[test]
fn visitors_wait_until_somebody_serves_again() {
    let mut fixture = Fixture::new();
    let holders = |fixture: &Fixture| -> Vec<DeploymentId> {
        fixture.state.holders().unwrap().iter().map(|it| it.id).collect()
    };
    let begin = |fixture: &mut Fixture| {
        let id = fixture.create("main", "api");
        fixture.state.claim(id, NOW(1)).unwrap();
        fixture.state.hold(id).unwrap();
        id
    };
    let first = fixture.create("main", "api");
    fixture.activate(first);
    // That it has failed is no reason to lead anybody to what does not run yet.
    let failed = begin(&mut fixture);
    fixture.state.step(failed, DeploymentEvent::Failed, Some("no"), NOW(2)).unwrap();
    assert_eq!(holders(&fixture), [failed]);
    fixture.state.release(failed).unwrap();
    assert_eq!(holders(&fixture), []);
    // What was interrupted begins anew, and the old one may serve until then.
    let again = begin(&mut fixture);
    fixture.state.step(again, DeploymentEvent::Interrupted, None, NOW(2)).unwrap();
    assert_eq!(holders(&fixture), []);
    // The next one that serves ends the wait for all before.
    fixture.state.claim(again, NOW(3)).unwrap();
    fixture.state.hold(again).unwrap();
    fixture.state.step(again, DeploymentEvent::Failed, Some("no"), NOW(3)).unwrap();
    let last = begin(&mut fixture);
    assert_eq!(holders(&fixture), [again, last]);
    fixture.reserve(last, 18000, 18009);
    fixture.state.activate(last, NOW(5), NOW(4)).unwrap();
    assert_eq!(holders(&fixture), []);
}

#[test]
fn what_changes_nothing_hands_its_commit_to_the_one_that_serves() {
    let mut fixture = Fixture::new();
    let serving = fixture.create_as(1, "main", "api");
    fixture.activate(serving);
    let same = fixture.create_as(3, "main", "api");
    fixture.state.claim(same, NOW(3)).unwrap();
    assert!(fixture.state.unchanged(same, serving, NOW(4)).unwrap());
    let row = fixture.state.get(serving).unwrap().unwrap();
    assert_eq!((row.state, row.build.get(), row.request.get()), (DeploymentState::Active, 3, 1));
    assert_eq!(fixture.state_of(same), DeploymentState::Unchanged);
    // It counts as the newest, and what it held is removed.
    let late = fixture.create_as(2, "main", "api");
    assert_eq!(fixture.state_of(late), DeploymentState::Superseded);
    let to_end: Vec<_> = fixture.state.to_end(|| NOW(5)).unwrap().iter().map(|it| it.id).collect();
    assert_eq!(to_end, [same, late]);
    fixture.state.torn_down(same, NOW(6)).unwrap();
    assert_eq!(fixture.state_of(same), DeploymentState::Unchanged);

    // The one that serves may end while the two are compared.
    let next = fixture.create_as(4, "main", "api");
    fixture.state.claim(next, NOW(7)).unwrap();
    let scope = Scope {
        project: "site".parse().unwrap(),
        git_ref: "refs/heads/main".parse().unwrap(),
        service: None,
    };
    fixture.state.begin_teardown(&scope, "gone", NOW(8)).unwrap();
    assert!(!fixture.state.unchanged(next, serving, NOW(9)).unwrap());
    assert_eq!(fixture.state_of(next), DeploymentState::TearingDown);
}

#[test]
fn activation_replaces_what_served_and_routes_follow() {
    let mut fixture = Fixture::new();
    let old = fixture.create("main", "api");
    assert!(fixture.activate(old).is_empty());
    assert_eq!(fixture.routed(), (1, vec![old]));
    let new = fixture.create("main", "api");
    // While both are there, the newer one that asks for it has the route.
    fixture.state.claim(new, NOW(1)).unwrap();
    assert_eq!(fixture.routed(), (2, vec![old]));
    fixture.state.set_routed(new, true).unwrap();
    assert_eq!(fixture.routed(), (3, vec![new]));
    // A refused table: the old one has it again.
    fixture.state.step(new, DeploymentEvent::Failed, Some("no"), NOW(3)).unwrap();
    assert_eq!(fixture.routed(), (4, vec![old]));

    let newer = fixture.create("main", "api");
    assert_eq!(fixture.activate(newer), [old]);
    assert_eq!(fixture.state_of(old), DeploymentState::Draining);
    assert_eq!(fixture.state.to_end(|| NOW(4)).unwrap().len(), 1, "only the failed one");
    assert_eq!(fixture.state.to_end(|| NOW(5)).unwrap().len(), 2, "the drain is over");
}

#[test]
fn a_clock_that_was_set_back_keeps_no_drain() {
    let mut fixture = Fixture::new();
    let old = fixture.create("main", "api");
    fixture.activate(old);
    let hour = 3_600_000;
    let new = fixture.create("main", "api");
    fixture.state.claim(new, NOW(hour)).unwrap();
    fixture.state.activate(new, NOW(hour + 30_000), NOW(hour)).unwrap();
    let ends = |fixture: &Fixture, now| fixture.state.to_end(|| NOW(now)).unwrap().len();
    assert_eq!(ends(&fixture, hour), 0);
    assert_eq!(ends(&fixture, hour + 29_999), 0);
    assert_eq!(ends(&fixture, hour + 30_000), 1);
    assert_eq!(ends(&fixture, 0), 1, "it would drain for an hour");
}

/// A dispatcher that is slow has read the clock long before the rows.
#[test]
fn a_drain_that_begins_while_it_is_looked_is_not_over() {
    let mut fixture = Fixture::new();
    let old = fixture.create("main", "api");
    fixture.activate(old);
    let new = fixture.create("main", "api");
    fixture.state.claim(new, NOW(10)).unwrap();
    let path = fixture.dir.path().join("state.db");
    let ending = fixture.state.to_end(|| {
        let mut deployer = State::open(&path, Access::Patient).unwrap();
        deployer.activate(new, NOW(30_010), NOW(10)).unwrap();
        NOW(9)
    });
    assert_eq!(ending.unwrap(), []);
    assert_eq!(fixture.state_of(old), DeploymentState::Draining);
}

#[test]
fn ports_are_unique_rest_after_use_and_run_out_by_name() {
    let mut fixture = Fixture::new();
    let ids: Vec<_> = ["a", "b", "c"].map(|branch| fixture.create(branch, "api")).into();
    let first = fixture.reserve(ids[0], 18000, 18001);
    assert_eq!(fixture.reserve(ids[0], 18000, 18001), first, "kept");
    let second = fixture.reserve(ids[1], 18000, 18001);
    assert_ne!(first, second);
    let port = |port| Port::try_from(port).unwrap();
    let full = fixture.state.reserve_port(ids[2], port(18000), port(18001), |_| true).unwrap_err();
    insta::assert_snapshot!(full, @"no port between 18000 and 18001 is free; widen `port_range` in config.toml, or tear something down");
    // Bound by a program that is not Kennel's: the next one is taken.
    let other =
        fixture.state.reserve_port(ids[2], port(18000), port(18005), |port| port.get() != 18003);
    assert_eq!(other.unwrap().get(), 18004);
}

#[test]
fn the_last_teardown_of_a_service_frees_its_names_and_no_earlier() {
    let mut fixture = Fixture::new();
    let old = fixture.create("main", "api");
    fixture.activate(old);
    let new = fixture.create("main", "api");
    fixture.activate(new);
    let scope = Scope {
        project: "site".parse().unwrap(),
        git_ref: "refs/heads/main".parse().unwrap(),
        service: None,
    };
    let marked = fixture.state.begin_teardown(&scope, "gone", NOW(6)).unwrap();
    assert_eq!(marked.iter().map(|d| d.id).collect::<Vec<_>>(), [old, new]);
    assert!(fixture.routed().1.is_empty());

    let old = fixture.state.get(old).unwrap().unwrap();
    assert!(!fixture.state.is_last_of_service(&old).unwrap());
    fixture.state.torn_down(old.id, NOW(7)).unwrap();
    let new = fixture.state.get(new).unwrap().unwrap();
    assert!(fixture.state.is_last_of_service(&new).unwrap());
    // A push that comes back meanwhile keeps the names.
    let back = fixture.create("main", "api");
    fixture.state.torn_down(new.id, NOW(8)).unwrap();
    let back = fixture.state.get(back).unwrap().unwrap();
    assert_eq!(back.names, new.names);
    assert_eq!(back.state, DeploymentState::Pending);
    fixture.state.begin_teardown(&scope, "gone", NOW(9)).unwrap();
    fixture.state.torn_down(back.id, NOW(9)).unwrap();
    // Free: a branch whose plain slug was taken gets it now.
    assert!(fixture.state.newest(None).unwrap().is_empty());
}

#[test]
fn a_failure_that_left_nothing_is_forgotten_with_its_branch() {
    let mut fixture = Fixture::new();
    let id = fixture.create("main", "api");
    fixture.state.claim(id, NOW(1)).unwrap();
    fixture.state.step(id, DeploymentEvent::Failed, Some("no"), NOW(2)).unwrap();
    fixture.state.torn_down(id, NOW(3)).unwrap();
    assert_eq!(fixture.state_of(id), DeploymentState::Failed, "its reason stays to be read");
    assert!(fixture.state.to_end(|| NOW(9)).unwrap().is_empty());
    let scope = Scope {
        project: "site".parse().unwrap(),
        git_ref: "refs/heads/main".parse().unwrap(),
        service: None,
    };
    assert!(fixture.state.begin_teardown(&scope, "gone", NOW(4)).unwrap().is_empty());
    assert_eq!(fixture.state_of(id), DeploymentState::TornDown);
}

#[test]
fn names_never_meet() {
    let mut fixture = Fixture::new();
    let pairs = [
        ("feature-x", "api"),
        ("feature/x", "api"),
        ("v2-x", "api"),
        ("x", "api-v2"),
        ("pr-5", "api"),
    ];
    let ids = pairs.map(|(branch, service)| fixture.create(branch, service));
    let rows: Vec<_> = ids.iter().map(|id| fixture.state.get(*id).unwrap().unwrap()).collect();
    let base: HostName = "example.com".parse().unwrap();
    let hosts: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row.host(&base).unwrap()).collect();
    let users: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.names.user).collect();
    assert_eq!((hosts.len(), users.len()), (pairs.len(), pairs.len()));
    assert_eq!(rows[0].names.label, "api-feature-x");
    assert_eq!(rows[2].names.label, "api-v2-x");
    assert!(rows[3].names.label.starts_with("api-v2-x-"), "{}", rows[3].names.label);
}

#[test]
fn only_so_many_retired_ones_are_kept() {
    let mut fixture = Fixture::new();
    let ids: Vec<_> = (0..5)
        .map(|_| {
            let id = fixture.create("main", "api");
            for old in fixture.activate(id) {
                fixture.state.retired(old, NOW(6)).unwrap();
            }
            id
        })
        .collect();
    let key = Fixture::key("main", "api");
    let beyond: Vec<_> =
        fixture.state.beyond_kept(&key, 3).unwrap().into_iter().map(|d| d.id).collect();
    assert_eq!(beyond, [ids[0]]);
    fixture.state.torn_down(ids[0], NOW(7)).unwrap();
    assert!(fixture.state.beyond_kept(&key, 3).unwrap().is_empty());
}

#[test]
fn a_domain_has_one_holder_and_is_free_when_no_longer_asked_for() {
    let mut fixture = Fixture::new();
    let id = fixture.create("main", "api");
    let domain = |name: &str| -> HostPattern { format!("{name}.example.org").parse().unwrap() };
    let listed = |_: &HostPattern| false;
    let (own, www, old) = (domain("api"), domain("www"), domain("old"));
    let key = Fixture::key("main", "api");
    let other = Fixture::key("main", "web");
    fixture.state.claim_domains([&own, &www, &old].into_iter(), &key, listed).unwrap().unwrap();
    let free = domain("free");
    let taken = fixture.state.claim_domains([&free, &old].into_iter(), &other, listed).unwrap();
    insta::assert_snapshot!(taken.unwrap_err(), @"the domain old.example.org is taken by site/main/api; remove it from `custom_domain` or `redirect_from` there, or tear it down");
    // Nor has the other service got the one that was free.
    fixture.state.claim_domains([&free].into_iter(), &key, listed).unwrap().unwrap();
    // Its settings ask for api.example.org and www.example.org by now.
    fixture.activate(id);
    fixture.state.claim_domains([&old, &free].into_iter(), &other, listed).unwrap().unwrap();
    for kept in [&own, &www] {
        fixture.state.claim_domains([kept].into_iter(), &other, listed).unwrap().unwrap_err();
    }
}

#[test]
fn what_is_below_a_wildcard_is_its_projects_unless_the_operator_says_so() {
    let mut fixture = Fixture::new();
    let mut claim = |domain: &str, key: &OutputKey, listed: bool| {
        let domain = domain.parse::<HostPattern>().unwrap();
        let claimed = fixture.state.claim_domains([&domain].into_iter(), key, |_| listed);
        claimed.unwrap().map_err(|taken| taken.to_string())
    };
    let (own, beside) = (Fixture::key("main", "api"), Fixture::key("main", "web"));
    let other = OutputKey { project: "shop".parse().unwrap(), ..own.clone() };
    // Who was there first stays.
    claim("early.example.org", &other, false).unwrap();
    claim("*.example.org", &own, true).unwrap();
    claim("early.example.org", &other, false).unwrap();
    claim("web.example.org", &beside, false).unwrap();
    insta::assert_snapshot!(claim("late.example.org", &other, false).unwrap_err(), @"the domain late.example.org is one of *.example.org, which is taken by site/main/api; the operator may list it under `domains` in shop.toml");
    claim("late.example.org", &other, true).unwrap();
    // Not those to whom it does not lead.
    claim("example.org", &other, false).unwrap();
    claim("a.late.example.org", &other, false).unwrap();
    insta::assert_snapshot!(claim("*.example.org", &other, true).unwrap_err(), @"the domain *.example.org is taken by site/main/api; remove it from `custom_domain` or `redirect_from` there, or tear it down");
}

#[test]
fn rows_that_another_program_changed_are_wrong_turns() {
    let mut fixture = Fixture::new();
    let id = fixture.create("main", "api");
    fixture.state.step(id, DeploymentEvent::Cancelled, None, NOW(2)).unwrap();
    assert!(matches!(fixture.state.claim(id, NOW(3)), Err(StoreError::WrongTurn(_))));
    let missing = fixture.state.claim(DeploymentId::from_row(99), NOW(3)).unwrap_err();
    insta::assert_snapshot!(missing, @"there is no deployment 99");
    assert_eq!(NOW(1_500).since(NOW(1_000)), Duration::from_millis(500));
}

#[test]
fn a_build_s_deployments_end_while_they_do_not_serve() {
    let mut fixture = Fixture::new();
    let serving = fixture.create("main", "api");
    fixture.activate(serving);
    let build = fixture.state.get(serving).unwrap().unwrap().build;
    assert!(fixture.state.cancel_build(build, "asked", NOW(5)).unwrap().is_empty());
    let waiting = fixture.create("main", "web");
    let build = fixture.state.get(waiting).unwrap().unwrap().build;
    assert_eq!(fixture.state.cancel_build(build, "asked", NOW(5)).unwrap(), [waiting]);
    // Asked again, there is nothing left to end.
    assert!(fixture.state.cancel_build(build, "again", NOW(6)).unwrap().is_empty());
    let row = fixture.state.get(waiting).unwrap().unwrap();
    assert_eq!((row.state, row.reason.as_deref()), (DeploymentState::Cancelled, Some("asked")));
}

#[test]
fn who_is_brought_up_makes_way_until_that_ends() {
    let mut fixture = Fixture::new();
    let (old, new) = (fixture.create("main", "api"), fixture.create("main", "api"));
    let holders = |fixture: &Fixture| -> Vec<DeploymentId> {
        fixture.state.holders().unwrap().iter().map(|it| it.id).collect()
    };
    assert!(matches!(fixture.state.hold(new), Err(StoreError::WrongTurn(_))));
    fixture.activate(new);
    assert!(matches!(fixture.state.hold(new), Err(StoreError::WrongTurn(_))));
    assert_eq!(fixture.state_of(old), DeploymentState::Superseded);
    for end in [DeploymentEvent::Interrupted, DeploymentEvent::Failed, DeploymentEvent::Superseded]
    {
        let waits_on = end != DeploymentEvent::Interrupted;
        let next = fixture.create("main", "api");
        fixture.state.claim(next, NOW(3)).unwrap();
        fixture.state.hold(next).unwrap();
        assert_eq!(holders(&fixture), [next]);
        // Claimed once more, it still does.
        fixture.state.claim(next, NOW(3)).unwrap();
        assert_eq!(holders(&fixture), [next]);
        fixture.state.step(next, end, None, NOW(4)).unwrap();
        assert_eq!(!holders(&fixture).is_empty(), waits_on, "{end:?}");
        fixture.state.release(next).unwrap();
        assert_eq!(holders(&fixture), []);
    }
    let last = fixture.create("main", "api");
    fixture.state.claim(last, NOW(5)).unwrap();
    fixture.state.hold(last).unwrap();
    assert_eq!(fixture.activate(last), [new]);
    assert_eq!(holders(&fixture), []);
}
