//! A host as files: databases, route table and configuration below a temporary directory, and the
//! real program that looks at it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use kennel_core::config::{Manifest, ServiceManifest, SiteManifest};
use kennel_core::{
    BuildEvent, BuildId, DeploymentEvent, DeploymentId, EventId, GitRef, Layout, OutputKey,
    OutputKind, PathRoute, RouteTable, Settings, StorePath, Target, Timestamp,
};
use kennel_store::{Access, Builds, Inbox, NewBuild, NewDeployment, State};

/// The tree.
pub(crate) struct Tree {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) layout: Layout,
    /// When everything in it is thought to be looked at.
    pub(crate) now: Timestamp,
    requests: i64,
}

/// What the program said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Tree {
    /// As tmpfiles.d leaves a new host: directories, and databases without a byte.
    pub(crate) fn fresh() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::under(directory.path());
        for database in [layout.inbox_db(), layout.builds_db(), layout.state_db()] {
            fs::create_dir_all(database.parent().unwrap()).unwrap();
            fs::write(database, "").unwrap();
        }
        for path in
            [layout.projects(), layout.env_dir(), directory.path().join("var/lib/kennel/logs")]
        {
            fs::create_dir_all(path).unwrap();
        }
        fs::create_dir_all(layout.route_table().parent().unwrap()).unwrap();
        Self { directory, layout, now: SystemTime::now().into(), requests: 0 }
    }

    pub(crate) fn ago(&self, seconds: i64) -> Timestamp {
        Timestamp::from_millis(self.now.millis() - seconds * 1000)
    }

    pub(crate) fn project(&self, name: &str) {
        let text = "repo_url = \"https://git.test/x.git\"\nforge = \"forgejo\"\n";
        fs::write(self.layout.projects().join(format!("{name}.toml")), text).unwrap();
    }

    pub(crate) fn inbox(&self) -> Inbox {
        Inbox::open(&self.layout.inbox_db(), Access::Patient).unwrap()
    }

    pub(crate) fn builds(&self) -> Builds {
        Builds::open(&self.layout.builds_db(), Access::Patient).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.layout.state_db(), Access::Patient).unwrap()
    }

    /// A queued build, asked for `seconds` ago.
    pub(crate) fn build(
        &mut self,
        project: &str,
        git_ref: &str,
        commit: char,
        seconds: i64,
    ) -> BuildId {
        self.requests += 1;
        let new = NewBuild {
            fork: false,
            needs_approval: false,
            request: EventId::from_row(self.requests),
            project: project.parse().unwrap(),
            git_ref: git_ref.parse().unwrap(),
            sha: commit.to_string().repeat(40).parse().unwrap(),
            by: Some("alice".into()),
            received_at: self.ago(seconds),
        };
        self.builds().enqueue(&new, self.ago(seconds)).unwrap().id
    }

    /// The build ran and ended so, with one output `api` and one `web`; each a store path or why not.
    pub(crate) fn built(&self, id: BuildId, seconds: i64, outputs: [Result<(), &str>; 2]) {
        let mut builds = self.builds();
        builds.claim(id, self.ago(seconds)).unwrap();
        let planned = [("api", OutputKind::Service), ("web", OutputKind::Site)]
            .map(|(name, kind)| (name.parse().unwrap(), kind));
        builds.plan(id, "[services.api]\n[static_sites.web]\n", &planned).unwrap();
        for ((name, _), output) in planned.iter().zip(outputs) {
            builds.output_started(id, name, self.ago(seconds)).unwrap();
            match output {
                Ok(()) => {
                    builds
                        .output_built(id, name, &store_path(name.as_str()), self.ago(seconds - 2))
                        .unwrap();
                }
                Err(reason) => {
                    builds.output_failed(id, name, reason, self.ago(seconds - 2)).unwrap();
                }
            }
        }
        let event = match outputs.map(|output| output.is_ok()) {
            [true, true] => BuildEvent::Succeeded,
            [false, false] => BuildEvent::Failed,
            _ => BuildEvent::PartlyFailed,
        };
        builds.step(id, event, None, self.ago(seconds - 3)).unwrap();
    }

    /// A pending deployment of `project/branch/name`, made `seconds` ago.
    pub(crate) fn deployment(
        &mut self,
        project: &str,
        git_ref: &str,
        name: &str,
        commit: char,
        seconds: i64,
    ) -> DeploymentId {
        self.requests += 1;
        let request = EventId::from_row(self.requests);
        self.deployment_for(request, (project, git_ref, name), commit, seconds)
    }

    /// The same, asked for by this row of the inbox.
    pub(crate) fn deployment_for(
        &self,
        request: EventId,
        key: (&str, &str, &str),
        commit: char,
        seconds: i64,
    ) -> DeploymentId {
        self.state().create(&new_deployment(request, key, commit), self.ago(seconds)).unwrap()
    }

    /// It serves since `seconds` ago; the one before it drains for `drain` more seconds.
    pub(crate) fn active(&self, id: DeploymentId, seconds: i64, drain: i64) {
        let mut state = self.state();
        let deployment = state.claim(id, self.ago(seconds)).unwrap();
        if deployment.settings.kind() == OutputKind::Service {
            let port = |n: u16| n.try_into().unwrap();
            state.reserve_port(id, port(18000), port(18999), |_| true).unwrap();
        }
        state.activate(id, self.ago(-drain), self.ago(seconds)).unwrap();
    }

    pub(crate) fn failed(&self, id: DeploymentId, seconds: i64, reason: &str) {
        let mut state = self.state();
        state.claim(id, self.ago(seconds)).unwrap();
        state.step(id, DeploymentEvent::Failed, Some(reason), self.ago(seconds)).unwrap();
    }

    /// Publishes hosts, each leading to one deployment.
    pub(crate) fn routes(&self, hosts: &[(&str, DeploymentId)]) {
        let mut table = RouteTable::empty(7);
        for (host, deployment) in hosts {
            let target = Target::Site {
                deployment: *deployment,
                root: store_path("web"),
                spa: false,
                drain_secs: 30,
            };
            table.hosts.insert(host.parse().unwrap(), vec![PathRoute::new("/", target)]);
        }
        fs::write(self.layout.route_table(), serde_json::to_string(&table).unwrap()).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kennelctl"));
        command.arg("--root").arg(self.directory.path()).args(arguments);
        command.env("SUDO_USER", "alice").stdin(Stdio::null());
        command
    }

    /// Runs kennelctl on the tree. The tree's path is left out of what it says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Said {
        self.said(self.command(arguments))
    }

    pub(crate) fn said(&self, mut command: Command) -> Said {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(self.directory.path().to_str().unwrap(), "")
        };
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, out, err } = self;
        write!(f, "{out}{err}exit {code}")
    }
}

/// A deployment of `project/branch/name`, as its push asks for it.
pub(crate) fn new_deployment(
    request: EventId,
    (project, git_ref, name): (&str, &str, &str),
    commit: char,
) -> NewDeployment {
    NewDeployment {
        fork: false,
        rollback_to: None,
        request,
        build: BuildId::from_row(request.get()),
        key: OutputKey {
            project: project.parse().unwrap(),
            git_ref: git_ref.parse::<GitRef>().unwrap(),
            service: name.parse().unwrap(),
        },
        sha: commit.to_string().repeat(40).parse().unwrap(),
        store_path: store_path(name),
        settings: if name == "web" { Settings::Site(site()) } else { Settings::Service(service()) },
    }
}

pub(crate) fn store_path(name: &str) -> StorePath {
    format!("/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-{name}").parse().unwrap()
}

fn service() -> ServiceManifest {
    let manifest = Manifest::parse("[services.api]", "kennel.toml").unwrap();
    manifest.services.into_values().next().unwrap()
}

fn site() -> SiteManifest {
    let manifest = Manifest::parse("[static_sites.web]", "kennel.toml").unwrap();
    manifest.static_sites.into_values().next().unwrap()
}

/// Looks until there is something, for a minute.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute")
}

/// A JSON answer with its moments replaced, since they differ with each run.
pub(crate) fn without_times(json: &str) -> String {
    fn replace(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    let is_moment = key.ends_with("_at")
                        || key == "at"
                        || key == "since"
                        || key == "drain_until";
                    if let (true, Some(text)) = (is_moment, value.as_str()) {
                        assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
                        *value = "TIME".into();
                    }
                    replace(value);
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(replace),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(json).unwrap();
    replace(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

/// The program's file, for tests that run it from elsewhere.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_kennelctl").into()
}

/// Two branches and a pull request: something serves, drains, failed, waits. Ages are a few seconds
/// over whole minutes, so that a slow run reads the same.
pub(crate) fn busy() -> Tree {
    let mut tree = Tree::fresh();
    tree.project("shop");
    let main = "refs/heads/main";
    let old = tree.deployment("shop", main, "api", 'a', 7210);
    tree.active(old, 7205, 0);
    let api = tree.deployment("shop", main, "api", 'b', 430);
    tree.active(api, 425, 3600);
    let web = tree.deployment("shop", main, "web", 'b', 430);
    tree.active(web, 425, 0);
    let broken = tree.deployment("shop", main, "api", 'c', 310);
    let reason =
        "it ended at once (exit code 1); its last lines:\n\u{1b}[31mno database\u{1b}[0m\nbye";
    tree.failed(broken, 305, reason);
    let feature = tree.deployment("shop", "refs/heads/feature/x", "api", 'd', 250);
    tree.state().claim(feature, tree.ago(245)).unwrap();
    tree.deployment("shop", "refs/pull/5/head", "web", 'e', 190);
    tree.routes(&[
        ("api-main.shop.example.com", api),
        ("shop.test", api),
        ("web-main.shop.example.com", web),
    ]);

    let one = tree.build("shop", main, 'b', 14_410);
    tree.built(one, 14_405, [Ok(()), Ok(())]);
    let two = tree.build("shop", main, 'c', 14_410);
    tree.built(
        two,
        14_405,
        [Ok(()), Err("builder for web failed with exit code 2\n> make: *** no rule")],
    );
    let three = tree.build("shop", "refs/heads/feature/x", 'f', 10_810);
    tree.builds().claim(three, tree.ago(10_805)).unwrap();
    tree.build("blog", main, '1', 130);
    tree
}
