//! Finished builds become deployments.

use kennel_core::config::Manifest;
use kennel_core::{
    BuildState, DeploymentEvent, OutputKey, OutputKind, ServiceName, Settings, Timestamp,
};
use kennel_store::{Build, BuildOutput, NewDeployment, Scope};
use kennel_systemd::kill_point;
use tracing::{error, info};

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::say;

impl Dispatcher {
    /// Makes deployments of what finished builds built. Says whether there was anything.
    pub(crate) fn hand_over(&mut self, now: Timestamp) -> Result<bool, DispatchError> {
        let finished = self.builds.to_hand_over()?;
        for build in &finished {
            match build.state {
                BuildState::Succeeded | BuildState::Partial => self.deploy(build, now)?,
                BuildState::Failed | BuildState::Cancelled | BuildState::Superseded => {}
                // The query asks for finished ones only.
                BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => {
                    continue;
                }
            }
            kill_point!(DeploymentsMade, &build.project);
            self.builds.handed_over(build.id)?;
        }
        Ok(!finished.is_empty())
    }

    fn deploy(&mut self, build: &Build, now: Timestamp) -> Result<(), DispatchError> {
        // Parsed again: what the builder says is not believed, only what the commit says.
        let text = build.manifest.as_deref().unwrap_or_default();
        let manifest = match Manifest::parse(text, "kennel.toml") {
            Ok(manifest) => manifest,
            Err(problem) => {
                error!("build {} has a manifest that cannot be read: {problem}", build.id);
                return Ok(());
            }
        };
        for output in self.builds.outputs(build.id)? {
            let Some(new) = new_deployment(build, &output, &manifest) else { continue };
            let key = new.key.clone();
            let id = self.state.create(&new, now)?;
            kill_point!(DeploymentMade, &build.project);
            info!("build {} made {key}: deployment {id}", build.id);
            if build.cancel_requested {
                // It is made all the same, since its end removes what the build left.
                let reason = Some(say::CANCELLED_AFTER_BUILD);
                self.step_if_possible(id, DeploymentEvent::Cancelled, reason, now)?;
            }
        }
        if build.cancel_requested { Ok(()) } else { self.end_unwanted(build, &manifest, now) }
    }

    /// Ends what an older commit of the ref had and this one does not.
    fn end_unwanted(
        &mut self,
        build: &Build,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<(), DispatchError> {
        let pins = self.state.pins()?;
        for deployment in self.state.newest(Some(&build.project))? {
            let service = &deployment.key.service;
            let other_ref = deployment.key.git_ref != build.git_ref;
            let is_pinned = pins.iter().any(|pin| pin.scope.covers(&deployment.key));
            let is_older = deployment.request <= build.request;
            if other_ref || is_pinned || !is_older || wants(manifest, service) {
                continue;
            }
            info!("{} ends: {}", deployment.key, say::NO_LONGER_WANTED);
            let scope = Scope {
                project: build.project.clone(),
                git_ref: build.git_ref.clone(),
                service: Some(service.clone()),
            };
            self.state.begin_teardown(&scope, say::NO_LONGER_WANTED, now)?;
        }
        Ok(())
    }
}

fn wants(manifest: &Manifest, service: &ServiceName) -> bool {
    manifest.services.contains_key(service)
        || manifest.workers.contains_key(service)
        || manifest.timers.contains_key(service)
        || manifest.static_sites.contains_key(service)
}

/// The deployment of an output as its own build's row asks for it; none if it was not built.
pub(crate) fn new_deployment(
    build: &Build,
    output: &BuildOutput,
    manifest: &Manifest,
) -> Option<NewDeployment> {
    if !output.state.is_built() {
        return None;
    }
    let settings = match output.kind {
        OutputKind::Service => Settings::Service(manifest.services.get(&output.name)?.clone()),
        OutputKind::Worker => Settings::Worker(manifest.workers.get(&output.name)?.clone()),
        OutputKind::Timer => Settings::Timer(manifest.timers.get(&output.name)?.clone()),
        OutputKind::Site => Settings::Site(manifest.static_sites.get(&output.name)?.clone()),
    };
    Some(NewDeployment {
        request: build.request,
        build: build.id,
        key: OutputKey {
            project: build.project.clone(),
            git_ref: build.git_ref.clone(),
            service: output.name.clone(),
        },
        sha: build.sha.clone(),
        store_path: output.store_path.clone()?,
        settings,
        fork: build.fork,
        rollback_to: None,
    })
}
