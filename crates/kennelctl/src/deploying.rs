//! Waiting for what a wish makes serve.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kennel_core::{DeploymentId, DeploymentState};
use kennel_store::{Deployment, State};

use crate::failure::Failure;
use crate::host::{Host, Wish};
use crate::say;
use crate::signals::{Signal, Signals};
use crate::status::Addresses;
use crate::terminal::printable;

const PAUSE: Duration = Duration::from_millis(50);

/// Waits that long; its failure ends what is being waited for.
pub(crate) type Pause<'a> = &'a mut dyn FnMut(Duration) -> Result<(), Failure>;

/// Pauses that Ctrl-C ends, while `asked` is being deployed.
pub(crate) fn until_interrupted<'a>(
    signals: &'a Signals,
    asked: &'a str,
) -> impl FnMut(Duration) -> Result<(), Failure> + 'a {
    move |length| match signals.wait(length) {
        Some(Signal::End) => Err(Failure::Interrupted(asked.to_owned())),
        Some(Signal::Resized) | None => Ok(()),
    }
}

/// Tells each turn until all deployments of the wish serve, have ended or are held. Says whether all
/// serve.
pub(crate) fn deployed(
    host: &Host,
    state: &State,
    wish: &Wish,
    begun: Instant,
    pause: Pause<'_>,
) -> Result<bool, Failure> {
    let mut told: BTreeMap<DeploymentId, DeploymentState> = BTreeMap::new();
    loop {
        let deployments = state.of_request(wish.id)?;
        let pins = state.pins()?;
        for it in &deployments {
            if told.insert(it.id, it.state) != Some(it.state) {
                if it.is_held(&pins) {
                    host.terminal.line(&say::deployment_held(it.id, &it.key))?;
                } else {
                    tell(host, it, begun)?;
                }
            }
        }
        let under_way = |it: &Deployment| {
            matches!(it.state, DeploymentState::Pending | DeploymentState::Starting)
                && !it.is_held(&pins)
        };
        if !deployments.iter().any(under_way) {
            return Ok(deployments
                .iter()
                .all(|it| it.active_at.is_some() || it.state == DeploymentState::Unchanged));
        }
        pause(PAUSE)?;
    }
}

fn tell(host: &Host, it: &Deployment, begun: Instant) -> Result<(), Failure> {
    match it.state {
        DeploymentState::Pending => host.terminal.aside(&say::deployment_waits(it.id, &it.key)),
        DeploymentState::Starting => host.terminal.aside(&say::deployment_starts(it.id, &it.key)),
        DeploymentState::Active | DeploymentState::Draining | DeploymentState::Retired => {
            let addresses = Addresses::read(&host.layout).unwrap_or_default();
            let urls = addresses.of(it.id);
            let text = say::deployment_serves(it, begun.elapsed(), &urls);
            host.terminal.line(&text)?;
        }
        DeploymentState::Failed
        | DeploymentState::Superseded
        | DeploymentState::Unchanged
        | DeploymentState::Cancelled
        | DeploymentState::TearingDown
        | DeploymentState::TornDown => {
            let reason = it.reason.as_deref().unwrap_or_default();
            let reason: Vec<_> = reason.lines().map(printable).collect();
            let text = say::deployment_ended(it.id, &it.key, it.state, &reason.join("\n  "));
            host.terminal.line(&text)?;
        }
    }
    Ok(())
}
