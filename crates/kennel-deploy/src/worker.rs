//! A worker: a program that nobody calls, and that is up when it has stayed up for a moment.

use std::time::Duration;

use kennel_core::config::ProgramManifest;
use kennel_store::Deployment;
use kennel_systemd::{kill_point, status};
use tokio::time::{Instant, sleep};

use crate::{DeployError, Host, service};

/// How long it has to stay up. A program that lacks something says so within a moment; and for as
/// long the one that it replaces runs beside it.
const SETTLES: Duration = Duration::from_secs(2);

/// Starts the deployment's unit and looks whether it stays up.
pub(crate) async fn start(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<(), DeployError> {
    let unit = service::begin(host, deployment, manifest, None).await?.unit();
    status(&format!("looking whether {unit} stays up"));
    let settled = Instant::now() + SETTLES;
    while Instant::now() < settled {
        sleep(service::WATCH).await;
        service::ensure_alive(host, &unit).await?;
    }
    kill_point!(Healthy, &deployment.key.project);
    Ok(())
}
