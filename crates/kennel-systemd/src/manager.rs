//! systemd's manager over D-Bus (org.freedesktop.systemd1(5)): units started, stopped, asked.
//!
//! Every call that makes a job waits for that job's end, and says how it ended.

mod bus;
mod ended;

use std::sync::Arc;
use std::time::Duration;

use kennel_core::{Timestamp, UnitName};
use tokio::sync::Notify;
use tokio_stream::StreamExt;
use zbus::{OwnedObjectPath, Variant};

use bus::{SystemdManagerProxy, SystemdServiceProxy, SystemdUnitProxy};
use ended::ended;

/// Between two looks at a unit that is being cleaned, which takes a few milliseconds.
const CLEANING: Duration = Duration::from_millis(10);

/// Which of the arguments of the signal JobRemoved names the unit.
const JOB_REMOVED_UNIT: u8 = 2;

/// systemd did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// There is no connection.
    #[error("cannot reach systemd over D-Bus; is dbus.service running?")]
    Connect(#[source] zbus::Error),
    /// A call failed.
    #[error("systemd refused to {verb} {unit}")]
    Call {
        /// What it was asked to do.
        verb: &'static str,
        /// Which unit.
        unit: String,
        /// Why.
        source: zbus::Error,
    },
    /// The job was accepted and ended badly.
    #[error("the job to {verb} {unit} ended as `{result}`; see `systemctl status {unit}`")]
    Job {
        /// What it was asked to do.
        verb: &'static str,
        /// Which unit.
        unit: String,
        /// systemd's word: `failed`, `canceled`, `timeout`, `dependency`.
        result: String,
    },
    /// The bus went away in the middle.
    #[error("the connection to systemd broke while {unit} was to {verb}")]
    Gone {
        /// What it was asked to do.
        verb: &'static str,
        /// Which unit.
        unit: String,
    },
}

/// How a service's main process does, or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The cgroup, as a path below the root of cgroups; empty if it has none.
    pub control_group: String,
    /// systemd's word for how it ended: `success`, `exit-code`, `signal`, `oom-kill`, `timeout`…
    pub result: String,
    /// How its main process ended last, in words.
    pub ended: String,
    /// How often systemd started it again by itself.
    pub restarts: u32,
    /// Whether it runs, so that `result` and `ended` tell nothing of an earlier one.
    is_new: bool,
    memory_max: u64,
}

impl ServiceState {
    /// Whether systemd has started it again and forgotten how it ended: then the journal knows.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.restarts > 0 && self.is_new
    }

    /// How a process ended that is forgotten, from systemd's word for it.
    #[must_use]
    pub fn ended_before(&self, result: &str) -> String {
        ended::before(result, self.memory_max)
    }
}

impl ManagerError {
    /// Whether systemd can make nothing of the unit's file.
    #[must_use]
    pub fn is_bad_setting(&self) -> bool {
        let name = "org.freedesktop.systemd1.BadUnitSetting";
        matches!(self, Self::Call { source, .. } if is_error(source, name))
    }
}

/// How a unit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `maintenance`, `reloading`.
    pub active: String,
    /// `running`, `auto-restart`, `dead` and many more.
    pub sub: String,
}

impl UnitState {
    /// Whether no process of it is left and none will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.active == "inactive" || self.active == "failed"
    }

    /// Whether its main process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.active == "active" && self.sub == "running"
    }
}

/// A connection to systemd.
#[derive(Debug, Clone)]
pub struct Manager {
    connection: zbus::Connection,
    proxy: SystemdManagerProxy<'static>,
}

impl Manager {
    /// Connects over the system bus.
    ///
    /// # Errors
    /// [`ManagerError::Connect`].
    pub async fn connect() -> Result<Self, ManagerError> {
        let connection = zbus::Connection::system().await.map_err(ManagerError::Connect)?;
        let proxy = SystemdManagerProxy::new(&connection).await.map_err(ManagerError::Connect)?;
        // Without it systemd sends no JobRemoved.
        proxy.subscribe().await.map_err(ManagerError::Connect)?;
        Ok(Self { connection, proxy })
    }

    /// Connects on another thread of the runtime, if it has one, from now on; the result is waited
    /// for whenever it is needed.
    ///
    /// # Errors
    /// [`ManagerError::Connect`], from the future.
    ///
    /// # Panics
    /// If connecting does.
    pub fn connecting() -> impl Future<Output = Result<Self, ManagerError>> {
        let connecting = tokio::spawn(Self::connect());
        async {
            match connecting.await {
                Ok(connected) => connected,
                // It is never cancelled.
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
    }

    /// Starts a unit and waits until its job is done.
    ///
    /// # Errors
    /// [`ManagerError::Job`] if the unit failed to start.
    pub async fn start(&self, unit: &str) -> Result<(), ManagerError> {
        self.job("start", unit, self.proxy.start_unit(unit, "replace")).await
    }

    /// Asks for a unit's start and does not wait for it.
    ///
    /// # Errors
    /// [`ManagerError::Call`] if systemd does not accept the job.
    pub async fn start_no_wait(&self, unit: &str) -> Result<(), ManagerError> {
        let started = self.proxy.start_unit(unit, "replace").await;
        started.map(drop).map_err(|source| call("start", unit, source))
    }

    /// Stops a unit and waits until it is down. One that does not exist is down.
    ///
    /// # Errors
    /// Any [`ManagerError`].
    pub async fn stop(&self, unit: &str) -> Result<(), ManagerError> {
        match self.job("stop", unit, self.proxy.stop_unit(unit, "replace")).await {
            Err(ManagerError::Call { source, .. }) if is_no_such_unit(&source) => Ok(()),
            stopped => stopped,
        }
    }

    /// Asks for a unit's stop and does not wait for it.
    ///
    /// # Errors
    /// [`ManagerError::Call`] if systemd does not accept the job.
    pub async fn stop_no_wait(&self, unit: &str) -> Result<(), ManagerError> {
        match self.proxy.stop_unit(unit, "replace").await {
            Ok(_) => Ok(()),
            Err(source) if is_no_such_unit(&source) => Ok(()),
            Err(source) => Err(call("stop", unit, source)),
        }
    }

    /// Makes a running unit read its configuration again and waits until it has.
    ///
    /// # Errors
    /// Any [`ManagerError`].
    pub async fn reload(&self, unit: &str) -> Result<(), ManagerError> {
        // Otherwise a unit that is ordered after the caller's own start waits for it, for ever.
        self.job("reload", unit, self.proxy.reload_unit(unit, "ignore-dependencies")).await
    }

    /// Makes systemd forget that a unit failed, so that nothing of it stays loaded.
    ///
    /// # Errors
    /// [`ManagerError::Call`], but not for a unit that is not loaded.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), ManagerError> {
        match self.proxy.reset_failed_unit(unit).await {
            Ok(()) => Ok(()),
            Err(source) if is_no_such_unit(&source) => Ok(()),
            Err(source) => Err(call("reset", unit, source)),
        }
    }

    /// Removes a stopped unit's state directory (`systemctl clean --what=state`): files that
    /// belong to a dynamic user, which only systemd may remove. Returns when they are gone.
    ///
    /// # Errors
    /// [`ManagerError::Job`] if they could not be removed.
    pub async fn clean_state(&self, unit: &str) -> Result<(), ManagerError> {
        let in_call = |source| call("clean", unit, source);
        self.proxy.clean_unit(unit, &["state"]).await.map_err(in_call)?;
        // The answer comes when it has begun, and there is no job whose end is told. Until then
        // the unit is not down, and so neither is its slice.
        while !self.state(unit).await?.is_over() {
            tokio::time::sleep(CLEANING).await;
        }
        let result = async { self.service_proxy(unit).await?.clean_result().await };
        match result.await.map_err(in_call)?.as_str() {
            "success" => Ok(()),
            result => {
                Err(ManagerError::Job { verb: "clean", unit: unit.into(), result: result.into() })
            }
        }
    }

    /// Makes a stopped timer forget when it elapsed last (`systemctl clean --what=state`): its empty
    /// file in `/var/lib/systemd/timers`.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn clean_timer(&self, timer: &UnitName) -> Result<(), ManagerError> {
        let cleaned = self.proxy.clean_unit(timer.as_str(), &["state"]).await;
        match cleaned.map_err(|source| call("clean", timer.as_str(), source)) {
            // What could never be started has nothing to remember.
            Err(error) if error.is_bad_setting() => Ok(()),
            cleaned => cleaned,
        }
    }

    /// Makes systemd read all unit files again. Its price grows with every unit on the host, so
    /// that it has no place on the way of a deployment.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn reload_all(&self) -> Result<(), ManagerError> {
        self.proxy.reload().await.map_err(|source| call("reload all", "units", source))
    }

    /// How a unit does; a unit that does not exist is `inactive`.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn state(&self, unit: &str) -> Result<UnitState, ManagerError> {
        let asked = async {
            let proxy = self.unit(unit).await?;
            Ok(UnitState { active: proxy.active_state().await?, sub: proxy.sub_state().await? })
        };
        asked.await.map_err(|source| call("show", unit, source))
    }

    /// When a unit became active last.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn active_since(&self, unit: &str) -> Result<Timestamp, ManagerError> {
        let asked = async { self.unit(unit).await?.active_enter_timestamp().await };
        let micros = asked.await.map_err(|source| call("show", unit, source))?;
        Ok(Timestamp::from_millis(i64::try_from(micros / 1000).unwrap_or(i64::MAX)))
    }

    /// How a service's main process does, or ended.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn service(&self, unit: &str) -> Result<ServiceState, ManagerError> {
        let asked = async {
            let proxy = self.service_proxy(unit).await?;
            let result = proxy.result().await?;
            let code = proxy.exec_main_code().await?;
            let memory_max = proxy.memory_max().await?;
            let ended = ended(&result, code, proxy.exec_main_status().await?, memory_max);
            Ok(ServiceState {
                control_group: proxy.control_group().await?,
                result,
                ended,
                restarts: proxy.n_restarts().await?,
                is_new: code == 0,
                memory_max,
            })
        };
        asked.await.map_err(|source| call("show", unit, source))
    }

    /// The units that need the given one to run, as those in a slice need the slice.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn required_by(&self, unit: &str) -> Result<Vec<String>, ManagerError> {
        let asked = async { self.unit(unit).await?.required_by().await };
        asked.await.map_err(|source| call("show", unit, source))
    }

    /// Whether systemd knows an older version of the unit's file than there is.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn is_outdated(&self, unit: &str) -> Result<bool, ManagerError> {
        let asked = async { self.unit(unit).await?.need_daemon_reload().await };
        asked.await.map_err(|source| call("show", unit, source))
    }

    /// Whether the system, or Kennel as a whole, is being stopped or is down: what stops now was
    /// interrupted, and not cancelled.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn going_down(&self) -> Result<bool, ManagerError> {
        const TARGET: &str = "kennel.target";
        let asked = async {
            if self.proxy.system_state().await? == "stopping" {
                return Ok(true);
            }
            let target = self.unit(TARGET).await?;
            let (job, _) = target.job().await?;
            Ok(job != 0 || target.active_state().await? != "active")
        };
        asked.await.map_err(|source| call("show", TARGET, source))
    }

    /// The units whose names match any of the glob patterns and that are not down, with their
    /// states.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn running(
        &self,
        patterns: &[&str],
    ) -> Result<Vec<(String, UnitState)>, ManagerError> {
        let listed = self
            .proxy
            .list_units_by_patterns(&[], patterns)
            .await
            .map_err(|source| call("list", "units", source))?;
        let states = listed.into_iter().map(|unit| {
            // A queued start job counts: the unit is about to run.
            let active = if unit.7 == 0 { unit.3 } else { "activating".to_owned() };
            (unit.0, UnitState { active, sub: unit.4 })
        });
        Ok(states.filter(|(_, state)| !state.is_over()).collect())
    }

    /// Loaded units whose names match the glob pattern, whatever their state.
    ///
    /// # Errors
    /// [`ManagerError::Call`].
    pub async fn loaded(&self, pattern: &str) -> Result<Vec<String>, ManagerError> {
        let listed = self
            .proxy
            .list_units_by_patterns(&[], &[pattern])
            .await
            .map_err(|source| call("list", pattern, source))?;
        Ok(listed.into_iter().map(|unit| unit.0).collect())
    }

    /// Starts a timer that exists only in memory and starts the service of its own name once,
    /// after `delay`.
    ///
    /// # Errors
    /// [`ManagerError::Call`], but not if the timer runs already.
    pub async fn start_timer(
        &self,
        timer: &UnitName,
        description: &str,
        delay: Duration,
    ) -> Result<(), ManagerError> {
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let properties = [
            ("Description", Variant::from(description)),
            ("TimersMonotonic", Variant::from(vec![("OnActiveSec", delay)])),
            // The default may be a minute late.
            ("AccuracyUSec", Variant::from(100_000_u64)),
            // Otherwise the elapsed timer stays loaded for ever.
            ("RemainAfterElapse", Variant::from(false)),
        ];
        match self.proxy.start_transient_unit(timer.as_str(), "replace", &properties, &[]).await {
            Ok(_) => Ok(()),
            Err(source) if is_error(&source, "org.freedesktop.systemd1.UnitExists") => Ok(()),
            Err(source) => Err(call("start", timer.as_str(), source)),
        }
    }

    /// Tells of the ends of jobs of such units, from now on; of several that nobody waited for it
    /// tells once. When the bus is gone it tells no more, and the next call says so.
    ///
    /// # Errors
    /// [`ManagerError::Connect`].
    pub async fn ended_jobs(
        &self,
        concerns: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Arc<Notify>, ManagerError> {
        let mut removed = self.proxy.receive_job_removed().await.map_err(ManagerError::Connect)?;
        let ended = Arc::new(Notify::new());
        let tell = Arc::clone(&ended);
        // Read by a task of its own, all the time: once 64 signals wait, the connection reads no
        // further (zbus::Connection), and an answer that somebody waits for never comes.
        tokio::spawn(async move {
            while let Some(signal) = removed.next().await {
                if signal.args().is_ok_and(|args| concerns(&args.unit)) {
                    tell.notify_one();
                }
            }
        });
        Ok(ended)
    }

    async fn unit(&self, unit: &str) -> zbus::Result<SystemdUnitProxy<'static>> {
        let path = self.proxy.load_unit(unit).await?;
        SystemdUnitProxy::builder(&self.connection)
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
    }

    async fn service_proxy(&self, unit: &str) -> zbus::Result<SystemdServiceProxy<'static>> {
        let path = self.proxy.load_unit(unit).await?;
        SystemdServiceProxy::builder(&self.connection)
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
    }

    async fn job(
        &self,
        verb: &'static str,
        unit: &str,
        accepted: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<(), ManagerError> {
        let in_call = |source| call(verb, unit, source);
        // Listen first: a short job ends before the answer to its call is read. To this unit alone:
        // other jobs' ends would fill the connection until it no longer reads that answer.
        let only = [(JOB_REMOVED_UNIT, unit)];
        let mut removed = self.proxy.receive_job_removed_with_args(&only).await.map_err(in_call)?;
        let job = accepted.await.map_err(in_call)?;
        while let Some(signal) = removed.next().await {
            let Ok(args) = signal.args() else { continue };
            if args.job != job {
                continue;
            }
            return match args.result.as_str() {
                "done" | "skipped" => Ok(()),
                result => Err(ManagerError::Job { verb, unit: unit.into(), result: result.into() }),
            };
        }
        Err(ManagerError::Gone { verb, unit: unit.into() })
    }
}

fn call(verb: &'static str, unit: &str, source: zbus::Error) -> ManagerError {
    ManagerError::Call { verb, unit: unit.into(), source }
}

fn is_no_such_unit(error: &zbus::Error) -> bool {
    is_error(error, "org.freedesktop.systemd1.NoSuchUnit")
}

fn is_error(error: &zbus::Error, wanted: &str) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.as_str() == wanted)
}
