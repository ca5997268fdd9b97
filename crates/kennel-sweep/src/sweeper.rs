//! One sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use kennel_core::config::{HostConfig, ProjectConfig};
use kennel_core::{Delivery, Event, Layout, ProjectName, Timestamp, error_chain};
use kennel_store::{
    Access, Appended, Builds, ConfigError, Inbox, Life, State, StoreError, load_host, load_projects,
};
use tracing::{info, warn};

use crate::retention::{Forgotten, Kept};
use crate::{router, say};

/// Projects' files, each with what it says.
type Files = BTreeMap<PathBuf, Result<ProjectConfig, ConfigError>>;

/// The sweep cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The operator's configuration cannot be used.
    #[error("the configuration cannot be used; nothing expires until it is repaired")]
    Config(#[from] ConfigError),
    /// A database did not do what it was asked for.
    #[error("the state cannot be read or written")]
    Store(#[from] StoreError),
    /// The router cannot be asked at all.
    #[error("cannot begin to ask the router")]
    Runtime(#[source] io::Error),
}

/// Looks for what nobody uses.
#[derive(Debug)]
pub struct Sweeper<'a> {
    layout: &'a Layout,
}

impl<'a> Sweeper<'a> {
    /// On this host.
    #[must_use]
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    /// Writes down what was used, tells the inbox of what was not, and forgets what is long over.
    ///
    /// # Errors
    /// Any [`SweepError`].
    pub fn run(&self) -> Result<(), SweepError> {
        let host = load_host(self.layout)?;
        let files = load_projects(self.layout)?;
        let mut state = State::open(&self.layout.state_db(), Access::Patient)?;
        let mut builds = Builds::open(&self.layout.builds_db(), Access::Patient)?;
        let mut inbox = Inbox::open(&self.layout.inbox_db(), Access::Patient)?;
        let now = Timestamp::from(SystemTime::now());
        let kept = Kept { rows: host.retention.logs, projects: projects_of(&files) };
        let ended = self.ended(&mut state, &builds, &usable(files), &host, now)?;
        self.tell(&mut inbox, &ended, now)?;
        let forgotten = kept.forget_others(&mut inbox, &mut builds, &mut state, now)?;
        if forgotten != Forgotten::default() {
            info!("{}", say::forgotten(&forgotten));
        }
        Ok(())
    }

    /// What has ended by now, of projects whose rules are known.
    fn ended(
        &self,
        state: &mut State,
        builds: &Builds,
        projects: &BTreeMap<ProjectName, ProjectConfig>,
        host: &HostConfig,
        now: Timestamp,
    ) -> Result<Vec<Life>, SweepError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SweepError::Runtime)?;
        let used = match runtime.block_on(router::last_use(&self.layout.router_socket())) {
            Ok(used) => used,
            Err(error) => {
                // What was visited since the last sweep is known to nobody else.
                warn!("{}", say::router_silent(&error_chain(&error)));
                return Ok(Vec::new());
            }
        };
        state.used(&used.deployments, now)?;
        let mut lives = state.lives(builds)?;
        lives.retain(|life| {
            let project = projects.get(&life.project);
            project.and_then(|project| life.ends_at(project, host)).is_some_and(|end| end <= now)
        });
        Ok(lives)
    }

    fn tell(&self, inbox: &mut Inbox, ended: &[Life], now: Timestamp) -> Result<(), SweepError> {
        let expired = |life: &Life| Delivery {
            project: life.project.clone(),
            forge: None,
            delivery_id: None,
            received_at: now,
            by: None,
            uid: None,
            event: Event::Expired { git_ref: life.git_ref.clone() },
        };
        let deliveries: Vec<_> = ended.iter().map(expired).collect();
        if deliveries.is_empty() {
            return Ok(());
        }
        for (life, appended) in ended.iter().zip(inbox.append(&deliveries)?) {
            if matches!(appended, Appended::New(_)) {
                info!("{}", say::expired(&life.project, &life.git_ref));
            }
        }
        if let Err(error) = kennel_systemd::ring(&self.layout.bell()) {
            warn!("{}, ignoring: the dispatcher looks once a minute", error_chain(&error));
        }
        Ok(())
    }
}

/// The projects that have a file, whatever stands in it.
fn projects_of(files: &Files) -> BTreeSet<ProjectName> {
    let names = files.keys().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    names.collect()
}

/// The projects whose file can be used.
fn usable(files: Files) -> BTreeMap<ProjectName, ProjectConfig> {
    let mut projects = BTreeMap::new();
    for project in files.into_values() {
        match project {
            Ok(project) => {
                projects.insert(project.name.clone(), project);
            }
            Err(error) => warn!("{}", say::unusable_project(&error_chain(&error))),
        }
    }
    projects
}
