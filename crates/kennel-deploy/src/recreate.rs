//! A service whose versions must not overlap: the one of before ends before the next one starts.
//!
//! Its visitors wait at the router meanwhile. That they do is in the new one's row
//! ([`State::hold`]), so that whoever publishes a table has them wait, and ends when somebody serves: the
//! new one, or the old one, which is started again by whoever takes the new one back.
//! One lock and that row keep the two apart: nothing of the service is started against it.
//!
//! [`State::hold`]: kennel_store::State::hold

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use kennel_core::config::Strategy;
use kennel_core::{DeploymentEvent, DeploymentId, DeploymentState, Job, OutputKey, Settings};
use kennel_store::{Deployment, StoreError};
use kennel_systemd::{kill_point, status};
use rustix::fs::FlockOperation;
use tokio::time::{self, Instant};
use tracing::{info, warn};

use crate::{DeployError, Host, file, router, routes, service, sleep, slices, timer};

/// How long requests that have begun may take to end before the old version is told to. It has its
/// own `TimeoutStopSec=` after that, and everybody else is waiting.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// How long a restart of the router may take until there is one alone again. It takes a third of that.
const RELIEVED: Duration = Duration::from_secs(20);

/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(10);

/// Whether the deployment may not run beside what serves: one of the two says so.
pub(crate) fn is_asked_for(host: &Host, deployment: &Deployment) -> Result<bool, DeployError> {
    let active = host.state.active(&deployment.key)?;
    Ok(is_alone(deployment) || active.is_some_and(|active| is_alone(&active)))
}

/// Whether it says that it must be alone.
pub(crate) fn is_alone(deployment: &Deployment) -> bool {
    match &deployment.settings {
        Settings::Service(service) => service.strategy == Strategy::Recreate,
        Settings::Worker(_) | Settings::Timer(_) | Settings::Site(_) => false,
    }
}

/// Ends whatever runs of the service but for this deployment, while visitors wait.
pub(crate) async fn make_way(host: &mut Host, deployment: &Deployment) -> Result<(), DeployError> {
    if !is_asked_for(host, deployment)? {
        return Ok(());
    }
    let active = host.state.active(&deployment.key)?;
    {
        let _turn = file::lock(&host.layout.turn_lock(), FlockOperation::LockExclusive)?;
        host.state.hold(deployment.id)?;
    }
    kill_point!(HoldWritten, &deployment.key.project);
    // Nobody waits for the first version of a service.
    if let Some(active) = &active {
        status(&format!("making deployment {} of {} give way", active.id, active.key));
        // While two routers are there, each counts for itself, and one of them cannot be asked.
        let deadline = Instant::now() + RELIEVED;
        while Instant::now() < deadline && router::is_relieved(host).await? {
            time::sleep(LOOK).await;
        }
        routes::publish_if_changed(host).await?;
        kill_point!(VisitorsHeld, &deployment.key.project);
        let deadline = Instant::now() + UNDER_WAY;
        while Instant::now() < deadline && router::requests_to(host, active.id).await > 0 {
            time::sleep(LOOK).await;
        }
    }
    for other in host.state.holding()? {
        if other.key != deployment.key || other.id == deployment.id {
            continue;
        }
        timer::pause(host, &other).await?;
        if other.settings.kind().has_unit() {
            host.manager.stop(other.wake_unit().as_str()).await?;
            host.manager.stop(other.release_unit().as_str()).await?;
            host.manager.stop(other.unit().as_str()).await?;
        }
    }
    if let Some(active) = &active {
        info!("deployment {} of {} has given way", active.id, active.key);
    }
    kill_point!(WayGiven, &deployment.key.project);
    Ok(())
}

/// The turn to start this deployment's unit: nobody else starts one of its service meanwhile.
pub(crate) fn turn(host: &Host, deployment: &Deployment) -> Result<Option<File>, DeployError> {
    if !is_asked_for(host, deployment)? {
        return Ok(None);
    }
    let turn = file::lock(&host.layout.turn_lock(), FlockOperation::LockExclusive)?;
    // Superseded meanwhile, its own would be one too many.
    host.deployment(deployment.id)?
        .state
        .step(DeploymentEvent::Activated)
        .map_err(StoreError::WrongTurn)?;
    Ok(Some(turn))
}

/// The services whose visitors are to wait, and the deployment for which they do.
pub(crate) type Held = BTreeMap<OutputKey, DeploymentId>;

pub(crate) fn held(host: &Host) -> Result<Held, DeployError> {
    Ok(host.state.holders()?.into_iter().map(|it| (it.key, it.id)).collect())
}

/// The turn to start what serves; none if it has given way to one that is being brought up. The row
/// alone does not tell: nobody may be at work on it any more.
pub(crate) async fn turn_of_active(
    host: &Host,
    active: &Deployment,
) -> Result<Option<File>, DeployError> {
    turn_after(host, active, None).await
}

/// The same for whoever takes back `ended`, of which nothing runs any more.
async fn turn_after(
    host: &Host,
    active: &Deployment,
    ended: Option<DeploymentId>,
) -> Result<Option<File>, DeployError> {
    let turn = file::lock(&host.layout.turn_lock(), FlockOperation::LockExclusive)?;
    for holder in host.state.holders()? {
        if holder.key == active.key && holder.id != active.id && Some(holder.id) != ended {
            let unit = Job::Deploy(holder.id).unit();
            if !host.manager.state(unit.as_str()).await?.is_over() {
                return Ok(None);
            }
        }
    }
    let serves = host.deployment(active.id)?.state == DeploymentState::Active;
    Ok(serves.then_some(turn))
}

/// What has given way to a deployment that does not come to serve serves again, and whoever waited
/// is led to it. For when nothing of that deployment runs any more.
pub(crate) async fn resume(host: &mut Host, ended: &Deployment) -> Result<(), DeployError> {
    if let Some(active) = host.state.active(&ended.key)?
        && active.id != ended.id
        && (is_alone(ended) || is_alone(&active))
    {
        start_again(host, &active, ended).await?;
        host.state.release(ended.id)?;
        return routes::publish_if_changed(host).await.map(drop);
    }
    Ok(host.state.release(ended.id)?)
}

async fn start_again(
    host: &Host,
    active: &Deployment,
    ended: &Deployment,
) -> Result<(), DeployError> {
    let Settings::Service(manifest) = &active.settings else { return Ok(()) };
    let unit = active.unit();
    let is_over = host.manager.state(unit.as_str()).await?.is_over();
    if is_over && !sleep::is_asleep(host, active).await? {
        let turn = turn_after(host, active, Some(ended.id)).await?;
        let Some(turn) = turn else { return Ok(()) };
        info!("deployment {} of {} goes on", active.id, active.key);
        let lock = slices::hold(host, active).await?;
        host.manager.reset_failed(unit.as_str()).await?;
        sleep::hang_bell(host, active).await?;
        let started = host.manager.start(unit.as_str()).await;
        drop((lock, turn));
        kill_point!(WentOn, &ended.key.project);
        let mut serves = started.map_err(DeployError::from);
        if let (Ok(()), Some(port)) = (&serves, active.port) {
            serves = service::wait_until_healthy(host, active, port, manifest).await;
        }
        if let Err(error) = serves {
            // It was healthy before. If it is not now, visitors learn that from itself.
            warn!("{}, ignoring: it is what there is", error.chain());
        }
    }
    Ok(())
}
