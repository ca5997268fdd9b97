//! Deploying again what is built already, and building again what is not.
//!
//! Both are wishes of people. A redeployment has its own inbox row, and so its own set of
//! deployments of an old build: new units, new ports, the settings of the operator as they are now.
//! A push that comes meanwhile has a later row, and wins. Taken twice, a wish finds the rows that
//! it made and makes no others.

use kennel_core::config::Manifest;
use kennel_core::{
    BuildState, Delivery, DeploymentState, Event, EventId, GitRef, Layout, OutputKey, ServiceName,
    Timestamp,
};
use kennel_store::{
    Build, BuildFilter, BuildOutput, Builds, Inbox, InboxEntry, NewBuild, NewDeployment, Pin,
    State, load_project,
};
use tracing::info;

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::hand_over::new_deployment;
use crate::say;

/// How far back an output is looked for that the newest build could not build.
const MOST_BUILDS: u32 = 100;

/// How many deployments of a service are looked through for one that holds the store path: at most
/// this many are kept ([`kennel_core::config::HostConfig::keep_deployments`]).
const MOST_DEPLOYMENTS: u32 = 1000;

impl Dispatcher {
    /// Makes deployments of what was built last, or says why not.
    pub(crate) fn redeploy(
        &mut self,
        request: EventId,
        delivery: &Delivery,
        git_ref: &GitRef,
        service: Option<&ServiceName>,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        // What ended a moment ago becomes deployments first: they are as new as can be.
        self.hand_over(now)?;
        let rows = Rows {
            layout: &self.layout,
            inbox: &self.inbox,
            builds: &self.builds,
            state: &self.state,
        };
        let wish = Wish { request, delivery, git_ref, service };
        let plan = match rows.plan(&wish)? {
            Ok(plan) => plan,
            Err(refusal) => return Ok(refusal),
        };
        let mut made = Vec::new();
        for new in &plan {
            let id = self.state.create(new, now)?;
            info!("{} is deployed again from build {}: deployment {id}", new.key, new.build);
            made.push(id);
        }
        Ok(say::redeployed(&made, delivery.by.as_deref()))
    }

    /// Queues the commit that was asked for last once more, or says why not.
    pub(crate) fn rebuild(
        &mut self,
        request: EventId,
        delivery: &Delivery,
        git_ref: &GitRef,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        if let Some(made) = self.builds.of_request(request)? {
            return Ok(say::queued(made.id));
        }
        let project = match load_project(&self.layout, &delivery.project) {
            Ok(project) => project,
            Err(error) => return Ok(error.to_string()),
        };
        if let Some(refusal) = crate::decide::refuse_ref(&project, git_ref) {
            return Ok(refusal);
        }
        let rows = Rows {
            layout: &self.layout,
            inbox: &self.inbox,
            builds: &self.builds,
            state: &self.state,
        };
        let wish = Wish { request, delivery, git_ref, service: None };
        let newest = match rows.last_asked_for(&wish)? {
            Ok(newest) => newest,
            Err(refusal) => return Ok(refusal),
        };
        let new = NewBuild {
            request,
            project: delivery.project.clone(),
            git_ref: git_ref.clone(),
            sha: newest.sha,
            by: delivery.by.clone(),
            received_at: delivery.received_at,
            fork: newest.fork,
            // Who asks for a build of this commit by hand lets it be built.
            needs_approval: false,
        };
        Ok(say::queued(self.builds.enqueue(&new, now)?.id))
    }
}

/// What a person wants again.
struct Wish<'a> {
    request: EventId,
    delivery: &'a Delivery,
    git_ref: &'a GitRef,
    service: Option<&'a ServiceName>,
}

/// All that the decision looks at.
struct Rows<'a> {
    layout: &'a Layout,
    inbox: &'a Inbox,
    builds: &'a Builds,
    state: &'a State,
}

/// A value, or in words why there is none.
type OrRefusal<T> = Result<Result<T, String>, DispatchError>;

impl Wish<'_> {
    fn key(&self, service: &ServiceName) -> OutputKey {
        OutputKey {
            project: self.delivery.project.clone(),
            git_ref: self.git_ref.clone(),
            service: service.clone(),
        }
    }

    /// `site/main`
    fn place(&self) -> String {
        format!("{}/{}", self.delivery.project, self.git_ref.short())
    }
}

impl Rows<'_> {
    /// The newest build of the ref, if nothing of it is under way and the ref has not ended since.
    fn last_asked_for(&self, wish: &Wish<'_>) -> OrRefusal<Build> {
        let newest = self.of_ref(wish, 1)?.into_iter().next();
        let Some(newest) = newest else { return Ok(Err(say::never_built(&wish.place()))) };
        if newest.state == BuildState::WaitingForApproval {
            return Ok(Err(say::awaits_approval(newest.id, &wish.place())));
        }
        if !newest.state.is_final() && !newest.cancel_requested {
            return Ok(Err(say::deploys_anyway(newest.id, newest.state)));
        }
        if let Some(end) = self.end_since(wish, None, newest.request)? {
            return Ok(Err(say::ended(&wish.place(), &why_ended(&end))));
        }
        Ok(Ok(newest))
    }

    /// The deployments to make: of each service and site that the newest successful build's
    /// `kennel.toml` has, what was built last.
    fn plan(&self, wish: &Wish<'_>) -> OrRefusal<Vec<NewDeployment>> {
        if let Err(refusal) = self.last_asked_for(wish)? {
            return Ok(Err(refusal));
        }
        let builds: Vec<Built> = self.built(wish)?;
        let Some(newest) = builds.first() else {
            return Ok(Err(say::never_succeeded(&wish.place())));
        };
        if let Some(end) = self.end_since(wish, None, newest.build.request)? {
            return Ok(Err(say::ended(&wish.place(), &why_ended(&end))));
        }
        let pins = self.state.pins()?;
        if let Some(id) = self.under_way(wish, &pins)? {
            return Ok(Err(say::under_way(id)));
        }
        let mut pinned = None;
        let mut plan = Vec::new();
        for output in &newest.outputs {
            if wish.service.is_some_and(|service| *service != output.name) {
                continue;
            }
            let key = wish.key(&output.name);
            if let Some(pin) = pins.iter().find(|pin| pin.scope.covers(&key)) {
                pinned = Some(pin);
                continue;
            }
            let source = builds.iter().find_map(|built| built.deployment(wish, &output.name));
            let Some(new) = source else { continue };
            if let Some(end) = self.end_since(wish, Some(&output.name), of(&builds, &new))? {
                if wish.service.is_some() {
                    return Ok(Err(say::ended(&new.key.to_string(), &why_ended(&end))));
                }
                continue;
            }
            if !self.is_held(&new)? {
                return Ok(Err(say::not_kept(&new.key, new.build, &wish.place())));
            }
            plan.push(new);
        }
        if let Some(pin) = pinned.filter(|_| plan.is_empty()) {
            return Ok(Err(say::is_pinned(pin)));
        }
        if plan.is_empty() {
            return Ok(Err(say::nothing_built(&wish.place(), wish.service)));
        }
        Ok(Ok(plan))
    }

    fn of_ref(&self, wish: &Wish<'_>, limit: u32) -> Result<Vec<Build>, DispatchError> {
        let filter = BuildFilter {
            project: Some(wish.delivery.project.clone()),
            git_ref: Some(wish.git_ref.clone()),
            ..BuildFilter::default()
        };
        Ok(self.builds.list(&filter, limit)?)
    }

    /// The ref's builds that built something, newest first.
    fn built(&self, wish: &Wish<'_>) -> Result<Vec<Built>, DispatchError> {
        let mut built = Vec::new();
        for build in self.of_ref(wish, MOST_BUILDS)? {
            let good = matches!(build.state, BuildState::Succeeded | BuildState::Partial);
            let text = build.manifest.as_deref().unwrap_or_default();
            // One that cannot be read was not deployed the first time either.
            let Ok(manifest) = Manifest::parse(text, "kennel.toml") else { continue };
            if good && !build.cancel_requested {
                let outputs = self.builds.outputs(build.id)?;
                built.push(Built { build, manifest, outputs });
            }
        }
        Ok(built)
    }

    fn end_since(
        &self,
        wish: &Wish<'_>,
        service: Option<&ServiceName>,
        after: EventId,
    ) -> Result<Option<InboxEntry>, DispatchError> {
        Ok(self.inbox.end_since(&wish.delivery.project, wish.git_ref, service, after)?)
    }

    /// A deployment that an earlier row asked for and that does not serve yet, unless it is held.
    fn under_way(
        &self,
        wish: &Wish<'_>,
        pins: &[Pin],
    ) -> Result<Option<kennel_core::DeploymentId>, DispatchError> {
        let under_way = self
            .state
            .in_states(&[DeploymentState::Pending, DeploymentState::Starting])?
            .into_iter()
            .find(|it| {
                it.request != wish.request
                    && !pins.iter().any(|pin| pin.holds(it))
                    && it.key.project == wish.delivery.project
                    && it.key.git_ref == *wish.git_ref
                    && wish.service.is_none_or(|service| *service == it.key.service)
            });
        Ok(under_way.map(|it| it.id))
    }

    /// Whether an earlier deployment of the same build keeps the store path: its GC root is the
    /// proof that kennel-deploy asks for.
    fn is_held(&self, new: &NewDeployment) -> Result<bool, DispatchError> {
        let holder = self.state.history(&new.key, MOST_DEPLOYMENTS)?.into_iter().any(|it| {
            let keeps = it.state == DeploymentState::Active || it.state.is_kept();
            // What this very wish made when it was taken before.
            keeps && it.store_path == new.store_path && it.build == new.build
                || it.request == new.request
        });
        Ok(holder && self.layout.store(&new.store_path).exists())
    }
}

/// A build that built something.
struct Built {
    build: Build,
    manifest: Manifest,
    outputs: Vec<BuildOutput>,
}

impl Built {
    fn deployment(&self, wish: &Wish<'_>, name: &ServiceName) -> Option<NewDeployment> {
        let output = self.outputs.iter().find(|output| output.name == *name)?;
        let new = new_deployment(&self.build, output, &self.manifest)?;
        Some(NewDeployment { request: wish.request, key: wish.key(name), ..new })
    }
}

/// The inbox row that asked for the build of this deployment.
fn of(builds: &[Built], new: &NewDeployment) -> EventId {
    let built = builds.iter().find(|built| built.build.id == new.build);
    built.map_or(new.request, |built| built.build.request)
}

fn why_ended(end: &InboxEntry) -> String {
    match &end.delivery.event {
        Event::BranchDeleted { .. } => say::BRANCH_GONE.to_owned(),
        Event::PullRequestClosed { .. } => say::PULL_REQUEST_CLOSED.to_owned(),
        Event::TearDown { .. }
        | Event::Push { .. }
        | Event::PullRequest { .. }
        | Event::Approve { .. }
        | Event::Cancel { .. }
        | Event::Redeploy { .. }
        | Event::Rebuild { .. }
        | Event::RollBack { .. }
        | Event::Pin { .. }
        | Event::Unpin { .. }
        | Event::MaintenanceOn { .. }
        | Event::MaintenanceOff { .. }
        | Event::Extend { .. }
        | Event::Expired { .. }
        | Event::SecretSet { .. }
        | Event::SecretRemoved { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. } => {
            say::asked_by("it was torn down", end.delivery.by.as_deref())
        }
    }
}

#[cfg(test)]
mod tests;
