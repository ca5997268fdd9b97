//! All projects, a few at a time: those whose forges hang keep no others waiting.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use kennel_build::Leash;
use kennel_core::{Layout, ProjectName, error_chain};
use kennel_store::{ConfigError, load_projects, whole_file};
use tracing::{error, warn};

use crate::visit::{Visit, VisitError};

/// How many forges are asked side by side. Each is a git with a helper or two, and TasksMax= of
/// kennel-poll.service has room for them.
const SIDE_BY_SIDE: usize = 8;

/// Not every project could be looked at. A forge that does not answer is none of these.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// The projects' directory cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is remembered cannot be read or written at all.
    #[error("cannot use {}", .path.display())]
    Looks {
        /// The directory or its lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What failed stands in the journal.
    #[error("{failed} of {all} projects could not be looked at")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

/// Looks at the projects' forges.
#[derive(Debug)]
pub struct Poller<'a> {
    layout: &'a Layout,
    leash: &'a Leash,
    patience: Duration,
}

/// How long a forge may take to name its branches. One that hangs keeps one of a few places.
const PATIENCE: Duration = Duration::from_secs(60);

impl<'a> Poller<'a> {
    /// On this host; git is started with `leash`.
    #[must_use]
    pub fn new(layout: &'a Layout, leash: &'a Leash) -> Self {
        Self { layout, leash, patience: PATIENCE }
    }

    /// Gives a forge so long, for tests.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Looks at each project that is due, or at each of `only` if there are some.
    ///
    /// # Errors
    /// Any [`PollError`], after everything that could be done.
    pub fn run(&self, only: &[ProjectName]) -> Result<(), PollError> {
        // One at a time: both would find the same.
        let _lock = self.lock()?;
        let projects = load_projects(self.layout)?;
        self.forget_others(
            &projects.keys().filter_map(|path| path.file_stem()?.to_str()).collect(),
        )?;
        // What is wrong with a project's file is said by the dispatcher and `kennelctl check`.
        let usable = projects.values().filter_map(|project| project.as_ref().ok());
        let wanted = usable.filter(|project| only.is_empty() || only.contains(&project.name));
        let now = SystemTime::now().into();
        let (mut all, mut failed) = (0, 0);
        let mut visits = Vec::new();
        for project in wanted {
            all += 1;
            match Visit::prepare(self.layout, self.leash, project) {
                Ok(visit) if !only.is_empty() || visit.is_due(now) => visits.push(visit),
                Ok(_) => {}
                Err(error) => failed += told(&project.name, &error),
            }
        }
        // Taken from the end: forges that answered last time come first.
        visits.sort_by_key(|visit| std::cmp::Reverse(visit.look.failures));
        failed += self.make(visits);
        if failed > 0 { Err(PollError::Some { failed, all }) } else { Ok(()) }
    }

    /// Makes all visits; says how many failed.
    fn make(&self, visits: Vec<Visit<'_>>) -> usize {
        let places = visits.len().min(SIDE_BY_SIDE);
        let waiting = Mutex::new(visits);
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            let mut failed = 0;
            while let Some(visit) = next() {
                let name = visit.name().clone();
                match visit.make(self.patience) {
                    Ok(true) => self.ring(),
                    Ok(false) => {}
                    Err(error) => failed += told(&name, &error),
                }
            }
            failed
        };
        thread::scope(|scope| {
            let places: Vec<_> = (0..places).map(|_| scope.spawn(work)).collect();
            // One that panicked has said so.
            places.into_iter().map(|place| place.join().unwrap_or(1)).sum()
        })
    }

    fn ring(&self) {
        if let Err(error) = kennel_systemd::ring(&self.layout.bell()) {
            warn!("{}", error_chain(&error));
        }
    }

    /// A project that comes back under an old name is a new one.
    fn forget_others(&self, projects: &BTreeSet<&str>) -> Result<(), PollError> {
        let path = self.layout.looks();
        let failed = |source| PollError::Looks { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_look = path.extension().is_some_and(|extension| extension == "json");
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if is_look && !projects.contains(&*stem) {
                whole_file::remove(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<File, PollError> {
        let path = self.layout.poll_lock();
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|source| PollError::Looks { path, source })
    }
}

/// Says what failed, and counts it.
fn told(project: &ProjectName, error: &VisitError) -> usize {
    error!("{project}: {}", error_chain(error));
    1
}
