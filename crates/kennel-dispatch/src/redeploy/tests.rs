//! What is deployed again, and what is said where nothing can be.

use kennel_core::{BuildEvent, DeploymentEvent, DeploymentId, OutputKind, StorePath};
use kennel_store::Access;

use super::*;

const NOW: fn(i64) -> Timestamp = Timestamp::from_millis;
const MAIN: &str = "refs/heads/main";

struct Host {
    _dir: tempfile::TempDir,
    layout: Layout,
    inbox: Inbox,
    builds: Builds,
    state: State,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        for database in [layout.inbox_db(), layout.builds_db(), layout.state_db()] {
            std::fs::create_dir_all(database.parent().unwrap()).unwrap();
        }
        Self {
            inbox: Inbox::open(&layout.inbox_db(), Access::Patient).unwrap(),
            builds: Builds::open(&layout.builds_db(), Access::Patient).unwrap(),
            state: State::open(&layout.state_db(), Access::Patient).unwrap(),
            layout,
            _dir: dir,
        }
    }

    fn event(&mut self, event: Event) -> (EventId, Delivery) {
        let delivery = Delivery {
            project: "site".parse().unwrap(),
            forge: None,
            delivery_id: None,
            received_at: NOW(1),
            by: Some("ada".into()),
            uid: Some(1000),
            event,
        };
        let appended = self.inbox.append(std::slice::from_ref(&delivery)).unwrap();
        let kennel_store::Appended::New(id) = appended[0] else { panic!("{appended:?}") };
        (id, delivery)
    }

    /// A build of `main` that waits.
    fn push(&mut self) -> Build {
        let sha: kennel_core::CommitSha = "a".repeat(40).parse().unwrap();
        let push = Event::Push { branch: "main".parse().unwrap(), sha: sha.clone() };
        let (request, delivery) = self.event(push);
        let new = NewBuild {
            fork: false,
            needs_approval: false,
            request,
            project: delivery.project,
            git_ref: MAIN.parse().unwrap(),
            sha,
            by: None,
            received_at: NOW(1),
        };
        let id = self.builds.enqueue(&new, NOW(1)).unwrap().id;
        self.builds.get(id).unwrap().unwrap()
    }

    /// A build of `main` that ended, with one output `api` and one `web`, each built or failed.
    fn built(&mut self, outputs: [bool; 2]) -> Build {
        let build = self.push();
        self.builds.claim(build.id, NOW(1)).unwrap();
        let planned = [("api", OutputKind::Service), ("web", OutputKind::Site)]
            .map(|(name, kind)| (name.parse().unwrap(), kind));
        let manifest = "[services.api]\n[static_sites.web]\n";
        self.builds.plan(build.id, manifest, &planned).unwrap();
        for ((name, _), good) in planned.iter().zip(outputs) {
            if good {
                let path = path(name, build.id.get());
                std::fs::create_dir_all(self.layout.store(&path)).unwrap();
                self.builds.output_built(build.id, name, &path, NOW(1)).unwrap();
            } else {
                self.builds.output_failed(build.id, name, "no", NOW(1)).unwrap();
            }
        }
        let event = match outputs {
            [true, true] => BuildEvent::Succeeded,
            [false, false] => BuildEvent::Failed,
            _ => BuildEvent::PartlyFailed,
        };
        self.builds.step(build.id, event, None, NOW(1)).unwrap();
        self.builds.get(build.id).unwrap().unwrap()
    }

    /// What the dispatcher makes of a build that ended.
    fn handed_over(&mut self, build: &Build) -> Vec<DeploymentId> {
        let manifest = Manifest::parse(build.manifest.as_deref().unwrap(), "kennel.toml").unwrap();
        let outputs = self.builds.outputs(build.id).unwrap();
        let new = outputs.iter().filter_map(|output| new_deployment(build, output, &manifest));
        new.map(|new| self.state.create(&new, NOW(2)).unwrap()).collect()
    }

    /// A push whose outputs serve.
    fn serving(&mut self, outputs: [bool; 2]) -> Vec<DeploymentId> {
        let build = self.built(outputs);
        let deployments = self.handed_over(&build);
        for id in &deployments {
            self.state.claim(*id, NOW(3)).unwrap();
            self.state.activate(*id, NOW(9), NOW(4)).unwrap();
        }
        deployments
    }

    fn ended(&mut self, service: Option<&str>) {
        let git_ref = MAIN.parse().unwrap();
        self.event(Event::TearDown { git_ref, service: service.map(|it| it.parse().unwrap()) });
    }

    fn asked(&mut self, service: Option<&str>) -> (EventId, Delivery, Option<ServiceName>) {
        let service: Option<ServiceName> = service.map(|it| it.parse().unwrap());
        let git_ref = MAIN.parse().unwrap();
        let (id, delivery) = self.event(Event::Redeploy { git_ref, service: service.clone() });
        (id, delivery, service)
    }

    fn plan(&mut self, service: Option<&str>) -> Result<Vec<NewDeployment>, String> {
        let (request, delivery, service) = self.asked(service);
        let git_ref = MAIN.parse().unwrap();
        let wish =
            Wish { request, delivery: &delivery, git_ref: &git_ref, service: service.as_ref() };
        self.rows().plan(&wish).unwrap()
    }

    fn rows(&self) -> Rows<'_> {
        Rows { layout: &self.layout, inbox: &self.inbox, builds: &self.builds, state: &self.state }
    }

    /// `api of 1, web of 2`, or the refusal.
    fn planned(&mut self, service: Option<&str>) -> String {
        match self.plan(service) {
            Ok(plan) => {
                let parts = plan.iter().map(|it| format!("{} of {}", it.key.service, it.build));
                parts.collect::<Vec<_>>().join(", ")
            }
            Err(refusal) => refusal,
        }
    }
}

fn path(name: &ServiceName, build: i64) -> StorePath {
    format!("/nix/store/{build:0>32}-{name}").parse().unwrap()
}

#[test]
fn the_newest_build_is_deployed_again_as_a_set_of_its_own() {
    let mut host = Host::new();
    host.serving([true, true]);
    let old = host.serving([true, true]);
    assert_eq!(host.planned(None), "api of 2, web of 2");
    assert_eq!(host.planned(Some("web")), "web of 2");
    let plan = host.plan(None).unwrap();
    let new: Vec<_> = plan.iter().map(|new| host.state.create(new, NOW(5)).unwrap()).collect();
    assert!(new.iter().all(|id| !old.contains(id)), "{new:?} {old:?}");
    // Taken twice, it is the same set.
    let again: Vec<_> = plan.iter().map(|new| host.state.create(new, NOW(6)).unwrap()).collect();
    assert_eq!(new, again);
}

#[test]
fn a_wish_that_was_half_taken_is_taken_again() {
    let mut host = Host::new();
    host.serving([true, true]);
    let (request, delivery, service) = host.asked(None);
    let git_ref = MAIN.parse().unwrap();
    let wish = Wish { request, delivery: &delivery, git_ref: &git_ref, service: service.as_ref() };
    let first = host.rows().plan(&wish).unwrap().unwrap();
    host.state.create(&first[0], NOW(5)).unwrap();
    let again = host.rows().plan(&wish).unwrap().unwrap();
    assert_eq!(again.len(), 2);
    for new in &again {
        host.state.create(new, NOW(6)).unwrap();
    }
    assert_eq!(host.state.of_request(request).unwrap().len(), 2);
}

#[test]
fn what_the_newest_build_could_not_build_is_taken_from_the_one_before() {
    let mut host = Host::new();
    host.serving([true, true]);
    host.serving([true, false]);
    host.built([false, false]);
    assert_eq!(host.planned(None), "api of 2, web of 1");
    assert_eq!(host.planned(Some("web")), "web of 1");
}

#[test]
fn a_service_that_was_torn_down_stays_so() {
    let mut host = Host::new();
    host.serving([true, true]);
    host.ended(Some("web"));
    assert_eq!(host.planned(None), "api of 1");
    insta::assert_snapshot!(host.planned(Some("web")), @"site/main/web has ended: it was torn down by ada; the next push deploys it anew");
    host.serving([true, true]);
    assert_eq!(host.planned(None), "api of 2, web of 2");
}

#[test]
fn a_push_that_comes_meanwhile_wins() {
    let mut host = Host::new();
    host.serving([true, true]);
    let plan = host.plan(Some("api")).unwrap();
    let pushed = host.built([true, true]);
    let newer = host.handed_over(&pushed);
    let late = host.state.create(&plan[0], NOW(7)).unwrap();
    let state = |id| host.state.get(id).unwrap().unwrap().state;
    assert_eq!(state(late), DeploymentState::Superseded);
    assert_eq!(state(newer[0]), DeploymentState::Pending);
}

#[test]
fn refusals() {
    let mut host = Host::new();
    let mut said = vec![host.planned(None)];
    host.built([false, false]);
    said.push(host.planned(None));
    let build = host.built([true, true]);
    let pending = host.handed_over(&build);
    said.push(host.planned(Some("api")));
    for id in &pending {
        host.state.step(*id, DeploymentEvent::Failed, Some("no"), NOW(3)).unwrap();
    }
    said.push(host.planned(None));
    host.serving([true, true]);
    std::fs::remove_dir_all(host.layout.store(&path(&"api".parse().unwrap(), 3))).unwrap();
    said.push(host.planned(None));
    said.push(host.planned(Some("db")));
    host.ended(None);
    said.push(host.planned(None));
    let waiting = host.push();
    said.push(host.planned(None));
    host.builds.claim(waiting.id, NOW(4)).unwrap();
    said.push(host.planned(None));
    insta::assert_snapshot!(said.join("\n"), @"
    nothing was ever built of site/main; push to it
    no build of site/main has succeeded yet; when the cause has gone, use `kennelctl redeploy site/main --rebuild`
    deployment 1 is under way already; see `kennelctl status`
    what build 2 built of site/main/api is not kept in the Nix store; use `kennelctl redeploy site/main --rebuild`
    what build 3 built of site/main/api is not kept in the Nix store; use `kennelctl redeploy site/main --rebuild`
    the newest commit of site/main that was built has no service or site db
    site/main has ended: it was torn down by ada; the next push deploys it anew
    build 4 is queued and is deployed when it is done; see `kennelctl build 4 --follow`
    build 4 is building and is deployed when it is done; see `kennelctl build 4 --follow`
    ");
}
