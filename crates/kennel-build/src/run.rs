//! One build, from its row to its row's end.

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use kennel_core::config::{FlakeOutput, Manifest, Problem};
use kennel_core::{
    BuildEvent, BuildId, BuildState, Layout, OutputKind, OutputState, ServiceName, Timestamp,
    error_chain,
};
use kennel_store::{
    Access, Build, Builds, ConfigError, NoRoom, StoreError, check_room, load_host, load_project,
};
use kennel_systemd::kill_point;
use tracing::{error, info, warn};

use crate::cache;
use crate::confine::{ConfineError, check_supported};
use crate::directories::{Directories, MakeError};
use crate::job_log::JobLog;
use crate::leash::Leash;
use crate::manifest_blob::{self, BlobError};
use crate::mirror::{FetchError, Mirror, Wanted};
use crate::nix::{Asked, Nix, NixError};
use crate::output_log::OutputLog;
use crate::settle::remove_leftovers;
use crate::{nix_error, say};

/// The row could not be read or written; whoever settles it says what became of the build.
#[derive(Debug, thiserror::Error)]
#[error("cannot read or write build {id}")]
pub struct RunError {
    id: BuildId,
    source: StoreError,
}

/// Builds one row.
#[derive(Debug)]
pub struct Runner<'a> {
    layout: &'a Layout,
    leash: Leash,
    id: BuildId,
}

/// Why nothing could be built at all. Its text, with its causes, is the build's reason.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operator's, and no fault of this build.
    #[error("waits until the host's configuration is repaired")]
    Host(#[source] ConfigError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The host's as well.
    #[error("waits until there is room")]
    Room(#[source] NoRoom),
    #[error("cannot use the project's cache")]
    Cache(#[source] io::Error),
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error("cannot write the build's log")]
    Log(#[source] io::Error),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{problem}\n{}", .excerpt.trim_end())]
    Manifest { problem: Problem, excerpt: String },
    #[error(transparent)]
    Nix(#[from] NixError),
}

/// How the work ended.
enum End {
    /// Every output has a store path or a reason; these have a reason.
    Built { failed: Vec<(ServiceName, String)>, of: usize },
    /// Nobody wants it any more.
    Unwanted(BuildEvent, Option<&'static str>),
}

/// One output that `kennel.toml` asks for.
struct Planned {
    name: ServiceName,
    kind: OutputKind,
    output: FlakeOutput,
}

/// Each of so many builds tidies its mirror, which is then as small as if each did: commits stay
/// for weeks, and refs for 200 builds.
const TIDY_EVERY: i64 = 8;

/// How long a deployment needs to come up whose service is healthy at once. The row is settled by
/// then: who stops the job meanwhile stops nothing.
const STEP_BACK: Duration = Duration::from_millis(300);

impl<'a> Runner<'a> {
    /// Of the row `id`; children are started with `leash`.
    #[must_use]
    pub fn new(layout: &'a Layout, leash: Leash, id: BuildId) -> Self {
        Self { layout, leash, id }
    }

    /// Claims the row, builds, ends the row, rings the bell. Returns the state in which the row
    /// ended, or none if it was over before.
    ///
    /// # Errors
    /// [`RunError`] if the row cannot be claimed or ended.
    pub fn run(&self) -> Result<Option<BuildState>, RunError> {
        // Before anything can fail: systemd calls a program that ends without it a broken one.
        kennel_systemd::ready(&say::claiming(self.id));
        let failed = |source| RunError { id: self.id, source };
        let mut builds = Builds::open(&self.layout.builds_db(), Access::Patient).map_err(failed)?;
        let build = match builds.claim(self.id, now()) {
            Ok(build) => build,
            Err(StoreError::WrongTurn(_)) => {
                if let Some(build) = builds.get(self.id).map_err(failed)? {
                    info!("{}", say::over_already(self.id, build.state));
                }
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        kill_point!(BuildClaimed, &build.project);
        let directories = Directories::new(self.layout, &build.project, build.id);
        let state = self.end(&mut builds, &build, &directories).map_err(failed)?;
        kill_point!(BuildEnded, &build.project);
        if let Err(error) = kennel_systemd::ring(&self.layout.bell()) {
            warn!("{}", error_chain(&error));
        }
        kill_point!(BuildTold, &build.project);
        // Nobody waits for this build any more, but for the deployment that starts now. What is left
        // to do here, and the settlement after it, would take the processor from it.
        thread::sleep(STEP_BACK);
        // There is rarely anything to tidy.
        if build.id.get() % TIDY_EVERY == 0 {
            self.tidy(&build, &directories);
        }
        remove_leftovers(&directories, state);
        Ok(Some(state))
    }

    fn end(
        &self,
        builds: &mut Builds,
        build: &Build,
        directories: &Directories,
    ) -> Result<BuildState, StoreError> {
        let mut log = None;
        let worked = self.begin(build, directories, &mut log).and_then(|job| job.work(builds));
        let (event, reason) = match worked {
            Ok(End::Unwanted(event, reason)) => (event, reason.map(str::to_owned)),
            Ok(End::Built { failed, of }) => {
                let event = match failed.len() {
                    0 => BuildEvent::Succeeded,
                    all if all == of => BuildEvent::Failed,
                    _some => BuildEvent::PartlyFailed,
                };
                (event, say::outputs_failed(&failed, of))
            }
            Err(Failure::Store(error)) => return Err(error),
            Err(failure @ (Failure::Host(_) | Failure::Room(_))) => {
                let reason = error_chain(&failure);
                if let Some(log) = &mut log {
                    log.tell_failure(&reason);
                }
                (BuildEvent::Interrupted, Some(reason))
            }
            Err(failure) => {
                let reason = error_chain(&failure);
                match &mut log {
                    Some(log) => log.tell_failure(&reason),
                    None => error!("{reason}"),
                }
                (BuildEvent::Failed, Some(reason))
            }
        };
        let reason = reason.map(|reason| {
            let lines: Vec<&str> = reason.lines().collect();
            nix_error::shorten(&lines)
        });
        let state = builds.step(build.id, event, reason.as_deref(), now())?;
        if let Some(log) = &mut log {
            let took = log.elapsed();
            if state.is_final() {
                log.tell(&say::ended(state, took));
            }
        }
        Ok(state)
    }

    /// Keeps the mirror small.
    fn tidy(&self, build: &Build, directories: &Directories) {
        let Ok(config) = load_project(self.layout, &build.project) else {
            // The build has failed for the same reason.
            return;
        };
        let tidied = Mirror::new(&self.leash, directories, &config.repo_url)
            .and_then(|mirror| mirror.tidy());
        if let Err(error) = tidied {
            let error = error_chain(&error);
            warn!("tidying the mirror: {error}, ignoring: the next build tries again");
        }
    }

    fn begin<'j>(
        &'j self,
        build: &'j Build,
        directories: &'j Directories,
        log: &'j mut Option<JobLog>,
    ) -> Result<Job<'j>, Failure> {
        directories.make()?;
        let opened = JobLog::open(directories, build.id, &build.project, &build.git_ref);
        let log = log.insert(opened.map_err(Failure::Log)?);
        Ok(Job { layout: self.layout, leash: &self.leash, build, directories, log })
    }
}

/// One build with everything it needs.
struct Job<'j> {
    layout: &'j Layout,
    leash: &'j Leash,
    build: &'j Build,
    directories: &'j Directories,
    log: &'j mut JobLog,
}

impl Job<'_> {
    fn work(mut self, builds: &mut Builds) -> Result<End, Failure> {
        let Build { id, project, git_ref, sha, .. } = self.build;
        self.log.tell(&say::begins(*id, sha));
        if let Some(end) = unwanted(self.build) {
            return Ok(end);
        }
        check_supported()?;
        let host = load_host(self.layout).map_err(Failure::Host)?;
        let config = load_project(self.layout, project)?;
        check_room(self.layout).map_err(Failure::Room)?;
        let _cache = cache::share(&self.directories.cache).map_err(Failure::Cache)?;

        let nix = Asked::begin(self.leash, self.directories, &host.nix, &config.systems)?;
        self.step("fetching");
        self.log.tell(&say::fetching(git_ref, project, &config.repo_url));
        let mirror = Mirror::new(self.leash, self.directories, &config.repo_url)?;
        let wanted = Wanted { build: *id, git_ref, sha };
        let (found, text) = mirror.fetch(&wanted, |mirror| manifest_blob::read(mirror, sha))?;
        self.log.tell(&say::fetched(sha, found, git_ref));
        kill_point!(CommitFetched, project);

        let text = text?;
        let manifest = Manifest::parse(&text, "kennel.toml")
            .map_err(|problem| Failure::Manifest { excerpt: problem.excerpt(&text), problem })?;
        let planned = plan(&manifest);
        self.log.tell(&say::outputs(planned.iter().map(|planned| &planned.name)));
        let outputs: Vec<_> = planned.iter().map(|p| (p.name.clone(), p.kind)).collect();
        builds.plan(*id, &text, &outputs)?;
        kill_point!(OutputsPlanned, project);

        let nix = nix.on(*id, sha)?;
        let mut failed = Vec::new();
        for (number, output) in (1..).zip(&planned) {
            if let Some(end) = builds.get(*id)?.as_ref().and_then(unwanted) {
                return Ok(end);
            }
            self.step(&say::step_of_output(&output.name, number, planned.len()));
            if let Err(reason) = self.build_output(builds, &nix, output)? {
                self.log.tell_failure(&say::output_failed(&output.name, &reason));
                builds.output_failed(*id, &output.name, &reason, now())?;
                failed.push((output.name.clone(), reason));
            }
        }
        self.keep_only(&planned, &failed);
        kill_point!(OutputsDone, project);
        Ok(End::Built { failed, of: planned.len() })
    }

    /// `Err` inside is the reason why the output failed.
    fn build_output(
        &mut self,
        builds: &mut Builds,
        nix: &Nix<'_>,
        planned: &Planned,
    ) -> Result<Result<(), String>, Failure> {
        let (id, name) = (self.build.id, &planned.name);
        let earlier = builds.outputs(id)?.into_iter().find(|output| output.name == *name);
        if let Some(path) = earlier.and_then(|output| output.store_path)
            && nix.is_held(name, &path)
        {
            self.log.tell(&say::kept(name, &path));
            return Ok(Ok(()));
        }
        self.log.tell(&say::building(name));
        builds.output_started(id, name, now())?;
        kill_point!(OutputBegun, &self.build.project);
        let begun = Instant::now();
        let path = self.directories.logs.join(format!("{name}.log"));
        let mut log = OutputLog::open(&path).map_err(Failure::Log)?;
        match nix.build(name, &planned.output, &mut log).map_err(NixError::Run)? {
            Ok(path) => {
                kill_point!(OutputLinked, &self.build.project);
                let state = builds.output_built(id, name, &path, now())?;
                kill_point!(OutputBuilt, &self.build.project);
                let is_unchanged = state == OutputState::Unchanged;
                let built = say::built(name, &path, begun.elapsed(), is_unchanged);
                log.say(&say::in_log_of_output(&built));
                self.log.tell(&built);
                Ok(Ok(()))
            }
            Err(reason) => {
                log.say(&say::in_log_of_output(&say::failed_after(name, begun.elapsed())));
                Ok(Err(reason))
            }
        }
    }

    /// Removes links that hold nothing to deploy: Nix makes one for every output of a derivation
    /// (`api-man`), and a failed output may have one of an interrupted run.
    fn keep_only(&self, planned: &[Planned], failed: &[(ServiceName, String)]) {
        let is_wanted = |link: &str| {
            planned.iter().any(|planned| planned.name.as_str() == link)
                && !failed.iter().any(|(name, _)| name.as_str() == link)
        };
        let removed = std::fs::read_dir(&self.directories.roots).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(is_wanted) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        });
        if let Err(error) = removed {
            warn!("removing superfluous GC roots: {error}, ignoring: they only take space");
        }
    }

    fn step(&self, step: &str) {
        let Build { project, git_ref, sha, .. } = self.build;
        kennel_systemd::status(&say::status(project, git_ref, sha, step));
    }
}

/// All outputs, by name: where Nix gives `api` a link `api-man` of its own, an output that is
/// really called `api-man` comes later and replaces it.
fn plan(manifest: &Manifest) -> Vec<Planned> {
    let services = manifest.services.iter().map(|(name, service)| Planned {
        name: name.clone(),
        kind: OutputKind::Service,
        output: service.program.flake_output.clone(),
    });
    let workers = manifest.workers.iter().map(|(name, worker)| Planned {
        name: name.clone(),
        kind: OutputKind::Worker,
        output: worker.flake_output.clone(),
    });
    let timers = manifest.timers.iter().map(|(name, timer)| Planned {
        name: name.clone(),
        kind: OutputKind::Timer,
        output: timer.program.flake_output.clone(),
    });
    let sites = manifest.static_sites.iter().map(|(name, site)| Planned {
        name: name.clone(),
        kind: OutputKind::Site,
        output: site.flake_output.clone(),
    });
    let mut planned: Vec<Planned> = services.chain(workers).chain(timers).chain(sites).collect();
    planned.sort_by(|a, b| a.name.cmp(&b.name));
    planned
}

/// Whether the row says that nobody wants the build any more: said before the unit is stopped, so
/// that it can be read here first.
fn unwanted(build: &Build) -> Option<End> {
    if build.superseded_by.is_some() {
        let reason = say::superseded_before_its_end();
        return Some(End::Unwanted(BuildEvent::Superseded, Some(reason)));
    }
    // Who cancelled it, and why, stands in the row already.
    build.cancel_requested.then_some(End::Unwanted(BuildEvent::Cancelled, None))
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
