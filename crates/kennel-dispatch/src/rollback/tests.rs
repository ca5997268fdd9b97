//! What is gone back to, and what is said where nothing can be.

use kennel_core::config::Manifest;
use kennel_core::{BuildId, DeploymentEvent, Settings};
use kennel_store::{Access, State};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1);

/// The deployments of one service, in the order in which they came.
struct Service {
    _dir: tempfile::TempDir,
    state: State,
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        Self { _dir: dir, state }
    }

    fn key() -> OutputKey {
        OutputKey {
            project: "site".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            service: "api".parse().unwrap(),
        }
    }

    /// One of this version; it waits.
    fn made(&mut self, version: &str, rollback_to: Option<i64>) -> DeploymentId {
        let manifest = Manifest::parse("[services.api]\n", "kennel.toml").unwrap();
        let service = manifest.services.into_values().next().unwrap();
        let count = i64::try_from(self.history().len()).unwrap();
        let path = format!("/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-{version}");
        let new = NewDeployment {
            request: EventId::from_row(count + 1),
            build: BuildId::from_row(count + 1),
            key: Self::key(),
            sha: "a".repeat(40).parse().unwrap(),
            store_path: path.parse().unwrap(),
            settings: Settings::Service(service),
            fork: false,
            rollback_to: rollback_to.map(DeploymentId::from_row),
        };
        self.state.create(&new, NOW).unwrap()
    }

    /// It serves; the one before it is kept.
    fn serves(&mut self, version: &str, rollback_to: Option<i64>) {
        let id = self.made(version, rollback_to);
        self.state.claim(id, NOW).unwrap();
        for old in self.state.activate(id, NOW, NOW).unwrap() {
            self.state.retired(old.id, NOW).unwrap();
        }
    }

    fn fails(&mut self, version: &str) {
        let id = self.made(version, None);
        self.state.step(id, DeploymentEvent::Failed, Some("no"), NOW).unwrap();
    }

    fn history(&self) -> Vec<Deployment> {
        self.state.history(&Self::key(), MOST_DEPLOYMENTS).unwrap()
    }

    fn choose(&self, to: Option<i64>) -> Result<i64, NoWayBack> {
        let history = self.history();
        let to = to.map(DeploymentId::from_row);
        choose(&history, to, |_| true).map(|target| target.id.get())
    }
}

#[test]
fn twice_back_is_two_versions_back() {
    let mut service = Service::new();
    assert_eq!(service.choose(None), Err(NoWayBack::NothingEarlier));
    service.serves("v1", None);
    assert_eq!(service.choose(None), Err(NoWayBack::NothingEarlier));
    service.serves("v2", None);
    service.fails("v3");
    service.serves("v4", None);
    assert_eq!(service.choose(None), Ok(2));
    service.serves("v2", Some(2));
    assert_eq!(service.choose(None), Ok(1));
    service.serves("v1", Some(1));
    assert_eq!(service.choose(None), Err(NoWayBack::NothingEarlier));
    // The next push goes forward, and from there it goes back to what served before it.
    service.serves("v7", None);
    assert_eq!(service.choose(None), Ok(6));
}

#[test]
fn the_same_deployed_again_is_no_way_back() {
    let mut service = Service::new();
    service.serves("v1", None);
    service.serves("v2", None);
    service.serves("v2", None);
    assert_eq!(service.choose(None), Ok(1));
}

#[test]
fn what_is_named_must_be_kept() {
    let mut service = Service::new();
    service.serves("v1", None);
    service.serves("v2", None);
    service.fails("v3");
    service.serves("v4", None);
    let (one, three) = (DeploymentId::from_row(1), DeploymentId::from_row(3));
    assert_eq!(service.choose(Some(1)), Ok(1));
    assert_eq!(service.choose(Some(3)), Err(NoWayBack::NotKept(three, DeploymentState::Failed)));
    assert_eq!(service.choose(Some(4)), Err(NoWayBack::Serves(DeploymentId::from_row(4))));
    assert_eq!(service.choose(Some(9)), Err(NoWayBack::Unknown(DeploymentId::from_row(9))));
    service.state.torn_down(one, NOW).unwrap();
    assert_eq!(service.choose(Some(1)), Err(NoWayBack::NotKept(one, DeploymentState::TornDown)));
    let history = service.history();
    let gone = choose(&history, None, |_| false).map(|it| it.id);
    assert_eq!(gone, Err(NoWayBack::NotInStore(DeploymentId::from_row(2))));
    assert_eq!(kept(&history), [DeploymentId::from_row(2)]);
}
