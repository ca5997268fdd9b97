//! One sweep.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use kennel_core::config::{HostConfig, ProjectConfig};
use kennel_core::{Delivery, Event, Layout, ProjectName, Timestamp, error_chain};
use kennel_store::{
    Access, Appended, Builds, ConfigError, Inbox, Life, State, StoreError, load_host, load_projects,
};
use tracing::{info, warn};

use crate::{router, say};

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

    /// Writes down what was used, and tells the inbox of what was not.
    ///
    /// # Errors
    /// Any [`SweepError`].
    pub fn run(&self) -> Result<(), SweepError> {
        let host = load_host(self.layout)?;
        let projects = self.projects()?;
        let mut state = State::open(&self.layout.state_db(), Access::Patient)?;
        let builds = Builds::open(&self.layout.builds_db(), Access::Patient)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SweepError::Runtime)?;
        let used = match runtime.block_on(router::last_use(&self.layout.router_socket())) {
            Ok(used) => used,
            Err(error) => {
                // What was visited since the last sweep is known to nobody else.
                warn!("{}", say::router_silent(&error_chain(&error)));
                return Ok(());
            }
        };
        let now = Timestamp::from(SystemTime::now());
        state.used(&used.deployments, now)?;
        let ended = ended(state.lives(&builds)?, &projects, &host, now);
        self.tell(&ended, now)
    }

    fn projects(&self) -> Result<BTreeMap<ProjectName, ProjectConfig>, SweepError> {
        let mut projects = BTreeMap::new();
        for project in load_projects(self.layout)?.into_values() {
            match project {
                Ok(project) => {
                    projects.insert(project.name.clone(), project);
                }
                Err(error) => warn!("{}", say::unusable_project(&error_chain(&error))),
            }
        }
        Ok(projects)
    }

    fn tell(&self, ended: &[Life], now: Timestamp) -> Result<(), SweepError> {
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
        let mut inbox = Inbox::open(&self.layout.inbox_db(), Access::Patient)?;
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

/// What has ended by now, of projects whose rules are known.
fn ended(
    lives: Vec<Life>,
    projects: &BTreeMap<ProjectName, ProjectConfig>,
    host: &HostConfig,
    now: Timestamp,
) -> Vec<Life> {
    let is_over = |life: &Life| {
        let project = projects.get(&life.project);
        project.and_then(|project| life.ends_at(project, host)).is_some_and(|end| end <= now)
    };
    lives.into_iter().filter(is_over).collect()
}
