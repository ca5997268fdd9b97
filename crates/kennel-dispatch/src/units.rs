//! Units made to match the rows: jobs started, stopped, and missed when they vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use kennel_core::{
    BuildEvent, BuildState, DeploymentEvent, DeploymentId, DeploymentState, Job, OutputKey,
    Timestamp, UnitName, error_chain,
};
use kennel_store::{Build, Deployment, StoreError, check_room};
use kennel_systemd::kill_point;
use tracing::{info, warn};

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::{queue, say};

/// The units that jobs run in.
const PATTERNS: [&str; 4] = [
    "kennel-build@*.service",
    "kennel-deploy@*.service",
    "kennel-teardown@*.service",
    "kennel-routes.service",
];

/// The timers that end drains.
const DRAINS: &str = "kennel-teardown@*.timer";

/// How many deployments are brought up side by side. Starting a service is cheap, but hundreds at
/// once would starve those that serve.
const MOST_DEPLOYS: usize = 8;

/// How many ends are brought about side by side.
const MOST_TEARDOWNS: usize = 8;

impl Dispatcher {
    /// Starts what may start, stops what shall end. Says whether there was anything.
    pub(crate) async fn match_units(&mut self, now: Timestamp) -> Result<bool, DispatchError> {
        let mut busy = false;
        // First of all, and without a look at units: somebody waits for the page.
        busy |= self.start_deploys(now).await?;
        busy |= self.publish_routes().await?;

        // Rows first: a job that ends in between has settled its row, which is not missed then,
        // since it can no longer be lost.
        let builds = self.builds.unfinished()?;
        let starting = self.state.in_states(&[DeploymentState::Starting])?;
        let running = self.running_jobs().await?;

        busy |= self.miss_builds(&builds, &running, now)?;
        busy |= self.miss_deploys(&starting, &running, now)?;
        busy |= self.stop_builds(&builds, &running).await?;
        busy |= self.start_builds(&running).await?;
        busy |= self.sweep_builds(&running).await?;
        busy |= self.start_teardowns(&running).await?;
        Ok(busy)
    }

    /// Has the route table published, if it is to say something else though nothing is deployed.
    async fn publish_routes(&mut self) -> Result<bool, DispatchError> {
        let Some(wanted) = self.state.routes_wanted()? else { return Ok(false) };
        // One that runs already may have read what was there before; its end is looked at.
        if self.may_publish(wanted) {
            self.start(Job::Routes).await?;
        }
        Ok(true)
    }

    async fn running_jobs(&self) -> Result<BTreeSet<Job>, DispatchError> {
        let units = self.manager.running(&PATTERNS).await?;
        Ok(units.iter().filter_map(|(unit, _)| Job::of_unit(unit)).collect())
    }

    /// A row that says `building` and has no unit: once it runs again, then it failed.
    fn miss_builds(
        &mut self,
        builds: &[Build],
        running: &BTreeSet<Job>,
        now: Timestamp,
    ) -> Result<bool, DispatchError> {
        let mut any = false;
        for build in builds {
            let gone = !running.contains(&Job::Build(build.id));
            if build.state != BuildState::Building || !gone {
                continue;
            }
            any = true;
            let ended = if build.superseded_by.is_some() {
                self.builds.step(build.id, BuildEvent::Superseded, None, now).map(drop)
            } else if build.cancel_requested {
                self.builds.step(build.id, BuildEvent::Cancelled, None, now).map(drop)
            } else if build.losses == 0 {
                warn!("build {} lost its unit; it runs again", build.id);
                self.builds.lost(build.id, now)
            } else {
                let reason = Some(say::LOST_TWICE);
                self.builds.step(build.id, BuildEvent::Failed, reason, now).map(drop)
            };
            ignore_wrong_turn(ended)?;
            kill_point!(LossWritten, &build.project);
        }
        Ok(any)
    }

    fn miss_deploys(
        &mut self,
        starting: &[Deployment],
        running: &BTreeSet<Job>,
        now: Timestamp,
    ) -> Result<bool, DispatchError> {
        let mut any = false;
        for deployment in starting {
            if running.contains(&Job::Deploy(deployment.id)) {
                continue;
            }
            any = true;
            let ended = if deployment.losses == 0 {
                warn!("deployment {} lost its unit; it runs again", deployment.id);
                self.state.lost(deployment.id, now)
            } else {
                let reason = Some(say::LOST_TWICE);
                self.state.step(deployment.id, DeploymentEvent::Failed, reason, now).map(drop)
            };
            ignore_wrong_turn(ended)?;
            kill_point!(LossWritten, &deployment.key.project);
        }
        Ok(any)
    }

    /// Stops the units of builds that shall end.
    async fn stop_builds(
        &mut self,
        builds: &[Build],
        running: &BTreeSet<Job>,
    ) -> Result<bool, DispatchError> {
        let mut any = false;
        for build in builds {
            let job = Job::Build(build.id);
            let shall_end = build.cancel_requested || build.superseded_by.is_some();
            if shall_end && running.contains(&job) {
                any = true;
                self.manager.stop_no_wait(job.unit().as_str()).await?;
            }
        }
        Ok(any)
    }

    async fn start_builds(&mut self, running: &BTreeSet<Job>) -> Result<bool, DispatchError> {
        let builds = self.builds.unfinished()?;
        // Slots are counted by rows, and by queued rows whose unit exists: a unit that is just
        // ending still counts as a unit.
        let (taken, free): (Vec<_>, Vec<_>) = builds.iter().partition(|build| {
            build.state == BuildState::Building || running.contains(&Job::Build(build.id))
        });
        let slots = usize::try_from(self.config.max_concurrent_builds)
            .unwrap_or(usize::MAX)
            .saturating_sub(taken.len());
        let free: Vec<_> =
            free.into_iter().filter(|build| self.may_start(Job::Build(build.id))).collect();
        let next = queue::next(&free, &taken, &self.last_start, slots);
        if !next.is_empty()
            && let Err(error) = check_room(&self.layout)
        {
            // Looked at again each minute, and whenever a build ends.
            self.wait_for_room(&builds, &error_chain(&error))?;
            return Ok(!taken.is_empty());
        }
        for build in &next {
            info!(
                "build {}: {} of {} at {}",
                build.id,
                build.git_ref.short(),
                build.project,
                build.sha.short()
            );
            self.starts += 1;
            self.last_start.insert(build.project.clone(), self.starts);
            kill_point!(BuildChosen, &build.project);
            self.start(Job::Build(build.id)).await?;
        }
        Ok(!taken.is_empty() || !next.is_empty())
    }

    /// Says of every build that has not begun why it does not.
    fn wait_for_room(&mut self, builds: &[Build], why: &str) -> Result<(), DispatchError> {
        let sentence = say::waits_for_room(why);
        for build in builds.iter().filter(|build| build.state == BuildState::Queued) {
            if build.reason.as_ref() != Some(&sentence) {
                warn!("build {} of {} {sentence}", build.id, build.project);
                self.builds.waits(build.id, &sentence)?;
            }
        }
        Ok(())
    }

    /// Runs the jobs of ended builds once more whose program and settlement were both killed before
    /// they had removed what the build left: there is nothing else for them to do.
    async fn sweep_builds(&mut self, running: &BTreeSet<Job>) -> Result<bool, DispatchError> {
        // Read after the units: one that is gone has written down what it removed.
        let unswept = self.builds.unswept()?;
        for build in &unswept {
            let job = Job::Build(build.id);
            if !running.contains(&job) && self.may_start(job) {
                self.start(job).await?;
            }
        }
        Ok(!unswept.is_empty())
    }

    async fn start_teardowns(&mut self, running: &BTreeSet<Job>) -> Result<bool, DispatchError> {
        let mut ending = self.state.to_end(|| Timestamp::from(SystemTime::now()))?;
        if ending.iter().any(|deployment| deployment.state == DeploymentState::Draining) {
            // A timer knows better than the clock, which may have been set since.
            let timers = self.manager.running(&[DRAINS]).await?;
            ending.retain(|deployment| {
                let timer = UnitName::teardown_timer(deployment.id);
                deployment.state != DeploymentState::Draining
                    || timers.iter().all(|(unit, _)| unit != timer.as_str())
            });
        }
        let mut at_work = running.iter().filter(|job| matches!(job, Job::Teardown(_))).count();
        for deployment in &ending {
            let deploy = Job::Deploy(deployment.id);
            if running.contains(&deploy) {
                if deployment.state == DeploymentState::Failed {
                    // The job says so before it takes back what it has made.
                    continue;
                }
                // Its end can be brought about once nobody brings it up any more.
                self.manager.stop_no_wait(deploy.unit().as_str()).await?;
                continue;
            }
            let job = Job::Teardown(deployment.id);
            if at_work < MOST_TEARDOWNS && !running.contains(&job) && self.may_start(job) {
                at_work += 1;
                kill_point!(TeardownChosen, &deployment.key.project);
                self.start(job).await?;
            }
        }
        Ok(!ending.is_empty())
    }

    /// Starts the jobs of pending deployments. One whose job runs already, and has not claimed its
    /// row yet, is asked for in vain.
    async fn start_deploys(&mut self, now: Timestamp) -> Result<bool, DispatchError> {
        let pins = self.state.pins()?;
        // One look at all of them: between two, a pending one may be claimed, and would then be
        // found in its own way.
        let (pending, in_the_way): (Vec<_>, Vec<_>) = self
            .state
            .in_states(&[
                DeploymentState::Pending,
                DeploymentState::Starting,
                DeploymentState::TearingDown,
            ])?
            .into_iter()
            .partition(|deployment| deployment.state == DeploymentState::Pending);
        let is_starting = |it: &&Deployment| it.state == DeploymentState::Starting;
        let mut at_work = in_the_way.iter().filter(is_starting).count();
        let in_the_way: BTreeMap<&OutputKey, &Deployment> =
            in_the_way.iter().map(|deployment| (&deployment.key, deployment)).collect();
        let mut newest: BTreeMap<&OutputKey, &Deployment> = BTreeMap::new();
        for deployment in &pending {
            let best = newest.entry(&deployment.key).or_insert(deployment);
            if best.request < deployment.request {
                *best = deployment;
            }
        }
        let mut any = false;
        for deployment in &pending {
            // Two of a service wait after the older one was being brought up, and was interrupted.
            let newest = newest.get(&deployment.key).filter(|newest| newest.id != deployment.id);
            if let Some(newest) = newest {
                self.supersede(deployment, newest, now)?;
                continue;
            }
            if let Some(pin) = pins.iter().find(|pin| pin.holds(deployment)) {
                let why = say::held(pin);
                if deployment.reason.as_ref() != Some(&why) {
                    info!("deployment {} of {} is {why}", deployment.id, deployment.key);
                    self.state.waits(deployment.id, &why)?;
                }
                continue;
            }
            any = true;
            if let Some(other) = in_the_way.get(&deployment.key) {
                match other.state {
                    DeploymentState::Starting if other.request < deployment.request => {
                        // What is being brought up would be replaced at once.
                        self.supersede(other, deployment, now)?;
                    }
                    DeploymentState::Starting => self.supersede(deployment, other, now)?,
                    _ => {}
                }
                // The job of another deployment of this service must end first.
                continue;
            }
            let job = Job::Deploy(deployment.id);
            if at_work < MOST_DEPLOYS && self.may_start(job) {
                kill_point!(DeploymentChosen, &deployment.key.project);
                self.start(job).await?;
            }
            at_work += 1;
        }
        Ok(any || at_work > 0)
    }

    /// The newest wins: a commit that arrived earlier never replaces one that arrived later.
    fn supersede(
        &mut self,
        older: &Deployment,
        newer: &Deployment,
        now: Timestamp,
    ) -> Result<(), DispatchError> {
        let reason = format!("deployment {} is newer", newer.id);
        self.step_if_possible(older.id, DeploymentEvent::Superseded, Some(&reason), now)?;
        kill_point!(NewerPreferred, &older.key.project);
        Ok(())
    }

    /// A step that another program may have forestalled.
    pub(crate) fn step_if_possible(
        &mut self,
        id: DeploymentId,
        event: DeploymentEvent,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), DispatchError> {
        ignore_wrong_turn(self.state.step(id, event, reason, now).map(drop))
    }
}

fn ignore_wrong_turn(result: Result<(), StoreError>) -> Result<(), DispatchError> {
    match result {
        // Settled by its own job between the look at the row and now.
        Err(StoreError::WrongTurn(_)) => Ok(()),
        result => Ok(result?),
    }
}
