//! Programs of Kennel held at a named point of a push's life, and what is done to them there.
//!
//! Only programs built with `kill-points` stop. A test arms points for a project, does something,
//! learns from the journal who is held, and kills it or lets it go on. No test sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kennel_core::KillPoint;
use serde_json::Value;

use crate::{Context, Kennel, Result, anyhow, bail};

/// Where the programs look, as `kennel_systemd::kill_point` has it.
const DIRECTORY: &str = "etc/kennel-kill-points";

/// Listens for programs that are held, as long as it lives.
pub struct Holds {
    kennel: Kennel,
    journal: Child,
    listeners: Listeners,
}

/// Who wants to know of which project.
type Listeners = Arc<Mutex<BTreeMap<String, Sender<Held>>>>;

/// One project's points.
pub struct Armed<'h> {
    holds: &'h Holds,
    project: String,
    points: BTreeSet<KillPoint>,
    held: Receiver<Held>,
}

/// A program that waits at a point.
#[derive(Clone, Debug)]
pub struct Held {
    /// Where.
    pub point: KillPoint,
    /// Its process, as the host numbers it.
    pub pid: String,
    /// Its unit.
    pub unit: String,
}

/// What is done to a program that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `kill -9` of the process itself.
    Kill,
    /// `systemctl kill` of its unit: SIGTERM to all processes of it.
    Terminate,
    /// `systemctl kill --signal=KILL` of its unit: none of its processes outlives another.
    Whole,
}

impl Holds {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn listen(kennel: &Kennel) -> Result<Self> {
        fs::create_dir_all(kennel.host().root().join(DIRECTORY))?;
        let shown = kennel.host().run(&["journalctl", "-q", "-n", "1", "--show-cursor"])?;
        let cursor = shown.lines().find_map(|line| line.strip_prefix("-- cursor: "));
        let cursor = cursor.context("the journal has no cursor")?;
        let mut journal = kennel
            .host()
            .command(&[
                "journalctl",
                "--follow",
                "--output=json",
                "--output-fields=KENNEL_POINT,KENNEL_PROJECT,_PID,_SYSTEMD_UNIT",
                &format!("--after-cursor={cursor}"),
            ])?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot follow the journal")?;
        let lines = BufReader::new(journal.stdout.take().context("no pipe")?);
        let listeners = Listeners::default();
        let tell = Arc::clone(&listeners);
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Some((project, held)) = held(&line) else { continue };
                let listeners = tell.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(listener) = listeners.get(&project) {
                    // Who listens no longer has seen enough.
                    let _ = listener.send(held);
                }
            }
        });
        Ok(Self { kennel: kennel.clone(), journal, listeners })
    }

    /// Nobody is held for this project until points are armed.
    #[must_use]
    pub fn of(&self, project: &str) -> Armed<'_> {
        let (sender, held) = mpsc::channel();
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(project.to_owned(), sender);
        Armed { holds: self, project: project.to_owned(), points: BTreeSet::new(), held }
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        let _ = self.journal.kill();
        let _ = self.journal.wait();
    }
}

impl Armed<'_> {
    /// Holds whoever passes one of these for the project, from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn arm(&mut self, points: &[KillPoint]) -> Result<()> {
        self.points.extend(points);
        self.write()
    }

    /// The points that nobody has been taken from yet.
    #[must_use]
    pub fn left(&self) -> &BTreeSet<KillPoint> {
        &self.points
    }

    /// Whoever is held next at a point that is still armed, if somebody is within `limit`.
    ///
    /// # Errors
    /// When nobody listens to the journal any more.
    pub fn next(&self, limit: Duration) -> Result<Option<Held>> {
        match self.held.recv_timeout(limit) {
            // Two programs may be held at one point: the second goes on with the first.
            Ok(held) => Ok(Some(held).filter(|held| self.points.contains(&held.point))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the journal has ended"),
        }
    }

    /// Waits until somebody is held at this point.
    ///
    /// # Errors
    /// When nobody is within `limit`, or somebody else is.
    pub fn expect(&self, point: KillPoint, limit: Duration) -> Result<Held> {
        let deadline = Instant::now() + limit;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.next(left)? {
                Some(held) if held.point == point => return Ok(held),
                Some(other) => bail!("not at {point}, but at {other:?} somebody is held"),
                None => {}
            }
        }
        let error = anyhow!("nobody was held at {point} for {}", self.project);
        Err(self.holds.kennel.explain(&error))
    }

    /// Ends the program that is held. Whoever comes to the point later passes.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn end(&mut self, held: &Held, way: Way) -> Result<()> {
        let host = self.holds.kennel.host();
        // One that has ended otherwise meanwhile is none to kill.
        match way {
            Way::Kill => host.try_run(&["kill", "-9", &held.pid])?,
            Way::Terminate => host.try_run(&["systemctl", "kill", &held.unit])?,
            Way::Whole => host.try_run(&["systemctl", "kill", "--signal=KILL", &held.unit])?,
        };
        self.release(held.point)
    }

    /// Lets go on whoever is held at the point, now and later.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn release(&mut self, point: KillPoint) -> Result<()> {
        self.points.remove(&point);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let file = self.file();
        if self.points.is_empty() {
            let _ = fs::remove_file(&file);
            return Ok(());
        }
        let text: String = self.points.iter().map(|point| format!("{point}\n")).collect();
        // Renamed into its place: half a list would let somebody go on.
        let new = file.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(&new, &file)?)
    }

    fn file(&self) -> PathBuf {
        self.holds.kennel.host().root().join(DIRECTORY).join(&self.project)
    }
}

impl Drop for Armed<'_> {
    /// A test that fails holds nobody for ever.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file());
    }
}

fn held(line: &str) -> Option<(String, Held)> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = field("KENNEL_POINT")?;
    let point = KillPoint::ALL.iter().find(|point| point.as_str() == name)?;
    let held = Held { point: *point, pid: field("_PID")?, unit: field("_SYSTEMD_UNIT")? };
    Some((field("KENNEL_PROJECT")?, held))
}
