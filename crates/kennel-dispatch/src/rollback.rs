//! Going back to what served before, and staying there.
//!
//! A way back is a new deployment of an earlier one's store path and settings: nothing is fetched or
//! built, and what serves goes on until the earlier version is healthy. It has its own inbox row, so
//! that what was pushed before it gives way, and what is pushed later goes forward again, unless
//! somebody has pinned it.

use kennel_core::{DeploymentId, DeploymentState, EventId, OutputKey, Timestamp};
use kennel_store::{Deployment, NewDeployment, Scope};
use tracing::info;

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::say;

/// How many deployments are looked through: at most this many are kept
/// ([`kennel_core::config::HostConfig::keep_deployments`]), and what failed lies between them.
const MOST_DEPLOYMENTS: u32 = 10_000;

impl Dispatcher {
    /// Makes a deployment of what an earlier one served, or says why not.
    pub(crate) fn roll_back(
        &mut self,
        request: EventId,
        key: OutputKey,
        to: Option<DeploymentId>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        if let Some(made) = self.state.of_request(request)?.into_iter().next() {
            return Ok(say::rolled_back(made.id, original(&made), by));
        }
        let history = self.state.history(&key, MOST_DEPLOYMENTS)?;
        let in_store = |it: &Deployment| self.layout.store(&it.store_path).exists();
        let target = match choose(&history, to, in_store) {
            Ok(target) => target,
            Err(why) => return Ok(say::not_rolled_back(&key, why, &kept(&history))),
        };
        let id = self.state.create(
            &NewDeployment {
                request,
                build: target.build,
                key,
                sha: target.sha.clone(),
                store_path: target.store_path.clone(),
                settings: target.settings.clone(),
                fork: target.fork,
                rollback_to: Some(original(target)),
            },
            now,
        )?;
        info!("{} goes back to deployment {}: deployment {id}", target.key, target.id);
        Ok(say::rolled_back(id, original(target), by))
    }

    /// Keeps pushes from deploying, if there is anything that they could replace.
    pub(crate) fn pin(
        &mut self,
        scope: &Scope,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let place = scope.to_string();
        let deployed = self.state.newest(Some(&scope.project))?;
        if !deployed.iter().any(|it| scope.covers(&it.key)) {
            return Ok(say::nothing_to_pin(&place));
        }
        Ok(say::pinned(&place, by, self.state.pin(scope, by, now)?))
    }

    /// Lets pushes deploy again; what was held is started at the next look.
    pub(crate) fn unpin(&mut self, scope: &Scope) -> Result<String, DispatchError> {
        let place = scope.to_string();
        let before = self.state.pins()?;
        let removed = self.state.unpin(scope)?;
        let branch = scope.whole_branch();
        if *scope != branch && before.iter().any(|pin| pin.scope == branch) {
            return Ok(say::pinned_as_branch(&place, &branch.to_string()));
        }
        let after = self.state.pins()?;
        let pending = self.state.in_states(&[DeploymentState::Pending])?;
        let freed = pending.iter().filter(|it| it.is_held(&before) && !it.is_held(&after));
        let freed: Vec<_> = freed.map(|it| it.id).collect();
        Ok(say::unpinned(&place, !removed.is_empty(), &freed))
    }
}

/// Why nothing is gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWayBack {
    /// There never was such a deployment of this service or site.
    Unknown(DeploymentId),
    /// It serves.
    Serves(DeploymentId),
    /// It is not kept, or never served.
    NotKept(DeploymentId, DeploymentState),
    /// Its files are not in the Nix store.
    NotInStore(DeploymentId),
    /// Nothing else is kept that served before.
    NothingEarlier,
}

/// The deployment to go back to, out of all of a service, newest first.
fn choose(
    history: &[Deployment],
    to: Option<DeploymentId>,
    in_store: impl Fn(&Deployment) -> bool,
) -> Result<&Deployment, NoWayBack> {
    let active = history.iter().find(|it| it.state == DeploymentState::Active);
    let target = match to {
        Some(to) => {
            let target = history.iter().find(|it| it.id == to).ok_or(NoWayBack::Unknown(to))?;
            if target.state == DeploymentState::Active {
                return Err(NoWayBack::Serves(to));
            }
            if !target.state.is_kept() {
                return Err(NoWayBack::NotKept(to, target.state));
            }
            target
        }
        // Before the one that serves, and where that is a way back itself, before what it went back
        // to: asked for twice, it goes back twice.
        None => history
            .iter()
            .filter(|it| it.state.is_kept())
            .find(|it| {
                active.is_none_or(|active| {
                    original(it) < original(active)
                        && (&it.store_path, &it.settings) != (&active.store_path, &active.settings)
                })
            })
            .ok_or(NoWayBack::NothingEarlier)?,
    };
    if in_store(target) { Ok(target) } else { Err(NoWayBack::NotInStore(target.id)) }
}

/// The deployment with which its version came.
fn original(deployment: &Deployment) -> DeploymentId {
    deployment.rollback_to.unwrap_or(deployment.id)
}

fn kept(history: &[Deployment]) -> Vec<DeploymentId> {
    history.iter().filter(|it| it.state.is_kept()).map(|it| it.id).collect()
}

#[cfg(test)]
mod tests;
