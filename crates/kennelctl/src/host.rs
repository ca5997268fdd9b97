//! The host that is looked at: its paths, its databases, its terminal.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use kennel_core::{Delivery, Event, EventId, Layout, ProjectName};
use kennel_store::{Access, Appended, Builds, Inbox, State};

use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::{clock, say};

/// The dispatcher answers within milliseconds; the rest is for a host that is busy.
const PATIENCE: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(50);

/// The host that is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) layout: Layout,
    /// Whether it is the host that this program runs on, rather than a tree of files.
    pub(crate) is_live: bool,
    pub(crate) terminal: Terminal,
}

/// A wish that was left, and the inbox that says what became of it.
#[derive(Debug)]
pub(crate) struct Wish {
    inbox: Inbox,
    pub(crate) id: EventId,
}

impl Wish {
    /// What the dispatcher decided; none while it has not.
    pub(crate) fn outcome(&self) -> Result<Option<String>, Failure> {
        Ok(self.inbox.outcome(self.id)?)
    }

    /// What the dispatcher decides; none if it has not for a while. `pause` waits that long, and
    /// its failure ends the wait.
    pub(crate) fn decided(
        &self,
        pause: &mut dyn FnMut(Duration) -> Result<(), Failure>,
    ) -> Result<Option<String>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = self.outcome()?;
            if outcome.is_some() || Instant::now() >= deadline {
                return Ok(outcome);
            }
            pause(PAUSE)?;
        }
    }
}

impl Wish {
    /// What the dispatcher decides, of what nobody minds waiting for.
    pub(crate) fn answer(&self) -> Result<String, Failure> {
        let mut pause = |length| {
            std::thread::sleep(length);
            Ok(())
        };
        self.decided(&mut pause)?.ok_or(Failure::Undecided)
    }
}

impl Host {
    /// builds.db to read; none before the dispatcher first ran.
    pub(crate) fn builds(&self) -> Result<Option<Builds>, Failure> {
        let path = self.layout.builds_db();
        Ok(if has_rows(&path)? { Some(Builds::open(&path, Access::ReadOnly)?) } else { None })
    }

    /// state.db to read; none before the dispatcher first ran.
    pub(crate) fn state(&self) -> Result<Option<State>, Failure> {
        let path = self.layout.state_db();
        Ok(if has_rows(&path)? { Some(State::open(&path, Access::ReadOnly)?) } else { None })
    }

    /// inbox.db to read; none before anybody wrote to it.
    pub(crate) fn inbox(&self) -> Result<Option<Inbox>, Failure> {
        let path = self.layout.inbox_db();
        Ok(if has_rows(&path)? { Some(Inbox::open(&path, Access::ReadOnly)?) } else { None })
    }

    /// Puts a person's wish into the inbox and rings the bell. The wish is kept even if nobody
    /// hears the bell. Returns where to read what became of it.
    pub(crate) fn wish(&self, project: &ProjectName, event: Event) -> Result<Wish, Failure> {
        let path = self.layout.inbox_db();
        // Opening makes a missing database, and it would then belong to whoever typed this.
        if !has_rows(&path)? {
            return Err(Failure::NoKennel(path));
        }
        let writable = std::fs::OpenOptions::new().write(true).open(&path);
        writable.map_err(|source| unreadable(&path, source))?;
        let wish = Delivery {
            project: project.clone(),
            forge: None,
            delivery_id: None,
            received_at: clock::now(),
            by: Some(login()),
            uid: Some(uid()),
            event,
        };
        let mut inbox = Inbox::open(&path, Access::Patient)?;
        // People's wishes are never folded together, so that there is exactly one.
        let (Appended::New(id) | Appended::Duplicate(id)) =
            inbox.append(&[wish])?.into_iter().next().ok_or_else(|| Failure::NoKennel(path))?;
        if let Err(error) = kennel_systemd::ring(&self.layout.bell()) {
            self.terminal.aside(&say::bell_not_heard(&error));
        }
        Ok(Wish { inbox, id })
    }

    /// Has the audit know what was done without a wish. That it cannot is told and undoes nothing.
    pub(crate) fn tell_audit(&self, project: &ProjectName, done: Event) {
        if let Err(failure) = self.wish(project, done) {
            self.terminal.aside(&say::not_in_audit(&failure.chain()));
        }
    }

    /// A project of which nothing is known must at least be configured.
    pub(crate) fn ensure_project(
        &self,
        project: &ProjectName,
        is_known: bool,
    ) -> Result<(), Failure> {
        if is_known {
            return Ok(());
        }
        let configured = self.configured_projects();
        if configured.iter().any(|name| name == project.as_str()) {
            return Ok(());
        }
        Err(Failure::NoProject(project.clone(), configured))
    }

    /// The names of projects that have a file in projects.d, as far as that can be read.
    pub(crate) fn configured_projects(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.layout.projects()) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> =
            names.filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned())).collect();
        names.sort();
        names
    }
}

/// Whether a database is there and somebody has made its tables.
fn has_rows(path: &Path) -> Result<bool, Failure> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(found) => Ok(found.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match path.parent().map(Path::try_exists) {
                Some(Ok(true)) => Ok(false),
                Some(Ok(false)) | None => Err(Failure::NoKennel(path.to_owned())),
                Some(Err(source)) => Err(unreadable(path, source)),
            }
        }
        Err(source) => Err(unreadable(path, source)),
    }
}

/// What to say of a file that cannot be opened.
pub(crate) fn unreadable(path: &Path, source: io::Error) -> Failure {
    if source.kind() == io::ErrorKind::PermissionDenied {
        Failure::NotPermitted(path.to_owned())
    } else {
        Failure::Read { path: path.to_owned(), source }
    }
}

/// The number of the login of [`login`]: behind sudo, of whoever typed it.
fn uid() -> u32 {
    let own = rustix::process::getuid();
    let behind = std::env::var("SUDO_UID").ok().filter(|_| own.is_root());
    behind.and_then(|uid| uid.parse().ok()).unwrap_or(own.as_raw())
}

/// Who types, for display only: whoever wishes something could write another name.
pub(crate) fn login() -> String {
    ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty() && name.len() <= 64 && !name.contains(char::is_control))
        .unwrap_or_else(|| match rustix::process::getuid() {
            uid if uid.is_root() => "root".to_owned(),
            uid => format!("uid {}", uid.as_raw()),
        })
}
