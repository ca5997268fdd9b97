//! Settling the row of a deployment whose program could not (`ExecStopPost=`).

use std::time::Duration;

use kennel_core::{DeploymentEvent, DeploymentId, DeploymentState, Job};
use kennel_systemd::{extend_timeout, kill_point, ring};
use tracing::{info, warn};

use crate::{DeployError, Host, log_tail};

/// A minute for the database ([`kennel_store::Access::Patient`]), and some for systemd. Much longer
/// than `TimeoutStopSec=`, which is for programs that do not leave.
const PATIENCE: Duration = Duration::from_secs(75);

/// How the job's program ended, as systemd tells `ExecStopPost=` (`$SERVICE_RESULT`,
/// systemd.exec(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// By itself or by a stop; the row decides.
    Stopped,
    /// Somebody killed it: it runs again once.
    Killed,
    /// It failed, in words.
    Failed(String),
}

/// Ends or resets the row of a deployment that is still `starting`, and rings the bell: whatever
/// is left of it on the host, the dispatcher has removed.
///
/// # Errors
/// [`DeployError`] if the row cannot be read or written; the dispatcher settles it then.
pub async fn settle(host: &mut Host, id: DeploymentId, result: &str) -> Result<(), DeployError> {
    let deployment = host.deployment(id)?;
    extend_timeout(PATIENCE);
    if deployment.state == DeploymentState::Starting {
        kill_point!(DeploymentUnsettled, &deployment.key.project);
        let (event, reason) = match ended(result) {
            Ended::Stopped if host.manager.going_down().await.unwrap_or(true) => {
                (DeploymentEvent::Interrupted, "the host or Kennel went down".to_owned())
            }
            Ended::Stopped => {
                (DeploymentEvent::Cancelled, format!("kennel-deploy@{id} was stopped"))
            }
            Ended::Killed if deployment.losses == 0 => {
                host.state.lost(id, Host::now())?;
                info!("kennel-deploy@{id} was killed; it runs again");
                kill_point!(DeploymentSettled, &deployment.key.project);
                return rung(host);
            }
            Ended::Killed => {
                let reason = format!("kennel-deploy@{id} was killed twice");
                (DeploymentEvent::Failed, reason)
            }
            Ended::Failed(how) => {
                // What it could not write into its row, as on a full disk, it has told the journal.
                let tail = log_tail::tail(&Job::Deploy(id).unit()).await;
                (DeploymentEvent::Failed, format!("kennel-deploy@{id} {how}{tail}"))
            }
        };
        let state = host.state.step(id, event, Some(&reason), Host::now())?;
        info!("deployment {id} is {state}: {reason}");
        kill_point!(DeploymentSettled, &deployment.key.project);
    }
    rung(host)
}

fn rung(host: &Host) -> Result<(), DeployError> {
    if let Err(error) = ring(&host.layout.bell()) {
        warn!("{error}");
    }
    Ok(())
}

fn ended(result: &str) -> Ended {
    match result {
        "success" => Ended::Stopped,
        "signal" => Ended::Killed,
        "timeout" => Ended::Failed("took longer than it may".to_owned()),
        "oom-kill" => Ended::Failed("needed more memory than there was".to_owned()),
        "core-dump" => Ended::Failed("crashed".to_owned()),
        "exit-code" => Ended::Failed("failed; see its journal".to_owned()),
        other => Ended::Failed(format!("ended as `{other}`")),
    }
}
