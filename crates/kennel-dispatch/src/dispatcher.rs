//! The dispatcher: what it holds, and its passes.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use kennel_core::config::HostConfig;
use kennel_core::{Job, Layout, ProjectName, Timestamp};
use kennel_store::{Access, Builds, ConfigError, Inbox, State, StoreError, load_host};
use kennel_systemd::{Manager, ManagerError, status};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::Bell;

/// How long the dispatcher stays after the last thing that it had to do: a push brings several
/// rings within seconds, and each start costs more than waiting.
const LINGER: Duration = Duration::from_secs(4);

/// How long the dispatcher stays for a ring that brought no work, and the longest that it lets such
/// rings wait for the next look: whoever may ring can do so without end, and each start of this
/// program costs the host more than staying does.
const IDLE_RING: Duration = Duration::from_secs(1);

/// The first such wait; each further one is twice as long.
const FIRST_IDLE_RING: Duration = Duration::from_millis(50);

/// How long a job that was started and is not at work rests before it is started again, times the
/// starts so far: one that fails before it can claim its row would otherwise be started for ever.
const REST: Duration = Duration::from_secs(2);

/// How often one run of the dispatcher starts the same job; the next run, a minute later at the
/// latest, tries again.
const MOST_STARTS: u32 = 4;

/// What started this run of the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The bell: there should be something to do.
    ByRing,
    /// The timer, or a project's file that has changed: to look for work that nobody rang for.
    ByTimer,
    /// Neither: the receiver is starting too (`Wants=` in its unit), and will ring in a moment.
    BesideReceiver,
}

impl Start {
    /// As the bell says, and systemd (`$TRIGGER_UNIT`, systemd.exec(5)).
    #[must_use]
    pub fn of(rung: bool) -> Self {
        match std::env::var("TRIGGER_UNIT") {
            _ if rung => Self::ByRing,
            Ok(unit) if unit.ends_with(".timer") || unit.ends_with(".path") => Self::ByTimer,
            Ok(_) | Err(_) => Self::BesideReceiver,
        }
    }
}

/// The dispatcher cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The operator's configuration cannot be used.
    #[error("the configuration cannot be used; nothing is built or deployed until it is repaired")]
    Config(#[from] ConfigError),
    /// A database did not do what it was asked for.
    #[error("the state cannot be read or written")]
    Store(#[from] StoreError),
    /// systemd did not do what it was asked for.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The bell cannot be listened to.
    #[error("cannot listen to the bell")]
    Bell(#[source] io::Error),
}

/// The scheduler, for one run of the program.
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) layout: Layout,
    pub(crate) config: HostConfig,
    pub(crate) inbox: Inbox,
    pub(crate) builds: Builds,
    pub(crate) state: State,
    pub(crate) manager: Manager,
    /// How many builds were started, in this run. Counted, since a clock can be set back.
    pub(crate) starts: u64,
    /// Which of them was each project's last.
    pub(crate) last_start: BTreeMap<ProjectName, u64>,
    /// What was said of projects whose pushes wait for a repair, in this run.
    pub(crate) told: BTreeMap<ProjectName, String>,
    /// When each job was started last, and how often, in this run.
    started: BTreeMap<Job, (Instant, u32)>,
    /// What was to be published when the job for that was started last, in this run.
    publishing: Option<i64>,
    /// When the first of the jobs that rest may be started again.
    rested: Option<Instant>,
}

impl Dispatcher {
    /// Reads the configuration, opens the databases, connects to systemd.
    ///
    /// # Errors
    /// Any [`DispatchError`].
    pub async fn open(layout: Layout) -> Result<Self, DispatchError> {
        let connecting = Manager::connecting();
        Ok(Self {
            config: load_host(&layout)?,
            inbox: Inbox::open(&layout.inbox_db(), Access::Patient)?,
            builds: Builds::open(&layout.builds_db(), Access::Patient)?,
            state: State::open(&layout.state_db(), Access::Patient)?,
            manager: connecting.await?,
            layout,
            starts: 0,
            last_start: BTreeMap::new(),
            told: BTreeMap::new(),
            started: BTreeMap::new(),
            publishing: None,
            rested: None,
        })
    }

    /// Looks at everything, again at each ring and each end of a job, and returns when nothing has
    /// come for a few seconds, or at once if there was nothing to do and `start` expects nothing.
    ///
    /// # Errors
    /// Any [`DispatchError`].
    pub async fn run(&mut self, bell: Option<&Bell>, start: Start) -> Result<(), DispatchError> {
        let bell = bell.map(Bell::watched).transpose().map_err(DispatchError::Bell)?;
        let ended = self.manager.ended_jobs(|unit| Job::of_unit(unit).is_some()).await?;
        let mut leave_at = match start {
            Start::ByTimer | Start::ByRing => Instant::now(),
            Start::BesideReceiver => Instant::now() + LINGER,
        };
        let mut rings = IdleRings::default();
        let mut by_bell = start == Start::ByRing;
        loop {
            if self.pass().await? {
                leave_at = Instant::now() + LINGER;
                rings = IdleRings::default();
            } else if by_bell {
                leave_at = leave_at.max(Instant::now() + IDLE_RING);
                // A job's end is looked at all the same.
                tokio::select! {
                    () = sleep(rings.next_wait()) => {}
                    () = ended.notified() => {}
                }
            }
            by_bell = false;
            tokio::select! {
                // In this order: who leaves with a ring unheard is started again at once.
                biased;
                () = ended.notified() => {}
                () = ring(bell.as_ref()) => by_bell = true,
                () = sleep_until(self.rested.unwrap_or(leave_at)) => {
                    if self.rested.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// One look at everything. Says whether anything was to be done or is at work.
    async fn pass(&mut self) -> Result<bool, DispatchError> {
        let now = Timestamp::from(SystemTime::now());
        // A job that finds it broken goes back to its row, and must not be started again before
        // it is repaired.
        self.config = load_host(&self.layout)?;
        self.rested = None;
        let mut busy = self.take_inbox(now)?;
        busy |= self.hand_over(now)?;
        busy |= self.match_units(now).await?;
        self.report()?;
        Ok(busy)
    }

    fn report(&self) -> Result<(), DispatchError> {
        let unfinished = self.builds.unfinished()?;
        let building = unfinished
            .iter()
            .filter(|build| build.state == kennel_core::BuildState::Building)
            .count();
        let queued = unfinished.len() - building;
        status(&format!("{building} builds running, {queued} queued"));
        Ok(())
    }

    /// Whether this job was not started a moment ago. If it was, the dispatcher stays until it may.
    pub(crate) fn may_start(&mut self, job: Job) -> bool {
        let Some((last, starts)) = self.started.get(&job) else { return true };
        if *starts >= MOST_STARTS {
            return false;
        }
        let rested = *last + REST * *starts;
        if rested <= Instant::now() {
            return true;
        }
        self.rested = Some(self.rested.map_or(rested, |earlier| earlier.min(rested)));
        false
    }

    /// Whether the route table may be published once more: what is wished anew does not wait for the
    /// rest of what was wished before.
    pub(crate) fn may_publish(&mut self, wanted: i64) -> bool {
        if self.publishing.replace(wanted) != Some(wanted) {
            self.started.remove(&Job::Routes);
        }
        self.may_start(Job::Routes)
    }

    /// Asks systemd for a job. That it cannot be started stops no other job.
    pub(crate) async fn start(&mut self, job: Job) -> Result<(), DispatchError> {
        let (last, starts) = self.started.entry(job).or_insert((Instant::now(), 0));
        *last = Instant::now();
        *starts += 1;
        if let Err(error) = self.manager.start_no_wait(job.unit().as_str()).await {
            let error = kennel_core::error_chain(&error);
            warn!("{error}, ignoring: tried again at the next look");
        }
        Ok(())
    }
}

/// Rings one after the other that brought no work.
#[derive(Debug, Default)]
struct IdleRings(u32);

impl IdleRings {
    /// How long the next ring has to wait.
    fn next_wait(&mut self) -> Duration {
        let wait = FIRST_IDLE_RING.saturating_mul(1_u32.checked_shl(self.0).unwrap_or(u32::MAX));
        self.0 = self.0.saturating_add(1);
        wait.min(IDLE_RING)
    }
}

async fn ring(bell: Option<&tokio::net::UnixDatagram>) {
    let Some(bell) = bell else { return std::future::pending().await };
    let mut byte = [0; 1];
    // Any error ends the wait, and the pass after it finds out more.
    let _ = bell.recv(&mut byte).await;
    while bell.try_recv(&mut byte).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_without_work_wait_longer_and_longer() {
        let mut rings = IdleRings::default();
        let waits: Vec<u128> = (0..7).map(|_| rings.next_wait().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        rings.0 = u32::MAX;
        assert_eq!(rings.next_wait(), IDLE_RING);
    }
}
