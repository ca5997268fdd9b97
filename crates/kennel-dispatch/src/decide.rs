//! What each inbox row means: the decisions, written as rows of the other two databases.
//!
//! Each can be taken twice, since the program may die between a decision and the note beside the
//! inbox row. Units are not touched here.

use std::collections::BTreeSet;

use kennel_core::config::{ProjectConfig, PullRequestPolicy};
use kennel_core::{
    BuildState, CommitSha, Delivery, Event, EventId, GitRef, ProjectName, PullRequestHead,
    Timestamp, error_chain,
};
use kennel_store::{BuildFilter, ConfigError, InboxEntry, NewBuild, TearDownScope, load_project};
use kennel_systemd::kill_point;
use tracing::{info, warn};

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::say;

/// How many rows are taken before units are looked after.
const BATCH: u32 = 500;

/// The most builds that a branch has waiting or running: one of each, and a few in between.
const MOST_OF_REF: u32 = 100;

impl Dispatcher {
    /// Takes what waits in the inbox, but for what waits for the repair of its project's file. Says
    /// whether there was anything.
    pub(crate) fn take_inbox(&mut self, now: Timestamp) -> Result<bool, DispatchError> {
        let mut waits = Waits::default();
        let mut after = None;
        let mut any = false;
        loop {
            let entries = self.inbox.waiting_after(after, BATCH)?;
            let Some(last) = entries.last() else { break };
            after = Some(last.id);
            any |= self.take(&entries, &mut waits, now)?;
        }
        self.told.retain(|project, _| waits.is_for(project));
        Ok(any)
    }

    fn take(
        &mut self,
        entries: &[InboxEntry],
        waits: &mut Waits,
        now: Timestamp,
    ) -> Result<bool, DispatchError> {
        // What changes nothing may wait for its note: each is a write for the disk, and a flood of
        // them would leave the receiver no moment for its own.
        let mut notes = Vec::new();
        let mut any = false;
        for entry in entries {
            kill_point!(EventRead, &entry.delivery.project);
            if waits.is_before(&entry.delivery) {
                continue;
            }
            let ignored = match self.ignore(&entry.delivery) {
                Ok(ignored) => ignored,
                Err(error) => {
                    self.tell_of_waiting(&entry.delivery.project, &error);
                    waits.begin(&entry.delivery);
                    continue;
                }
            };
            any = true;
            let is_ignored = ignored.is_some();
            let outcome = match ignored {
                Some(why) => why,
                None => self.decide(entry, now)?,
            };
            kill_point!(EventDecided, &entry.delivery.project);
            info!("{} of {}: {outcome}", entry.delivery.event.kind(), entry.delivery.project);
            notes.push((entry.id, outcome));
            if !is_ignored {
                // At once: taken again after later rows, a teardown would end their builds.
                self.inbox.consume_all(&notes, now)?;
                notes.clear();
            }
        }
        self.inbox.consume_all(&notes, now)?;
        Ok(any)
    }

    /// Why nothing is done about a push or pull request, if so. It cannot be said while the
    /// project's file cannot be used.
    fn ignore(&self, delivery: &Delivery) -> Result<Option<String>, ConfigError> {
        let of = |refuse: &dyn Fn(&ProjectConfig) -> Option<String>| match load_project(
            &self.layout,
            &delivery.project,
        ) {
            Ok(project) => {
                warn_of_other_forge(&project, delivery);
                Ok(refuse(&project))
            }
            Err(error @ ConfigError::NoProject { .. }) => {
                Ok(Some(say::no_project(&error.to_string())))
            }
            Err(error) => Err(error),
        };
        match &delivery.event {
            Event::Push { branch, .. } => {
                of(&|project| refuse_ref(project, &GitRef::Branch(branch.clone())))
            }
            Event::PullRequest { number, head, .. } => {
                of(&|project| refuse_pull_request(project, *number, head))
            }
            Event::BranchDeleted { .. }
            | Event::PullRequestClosed { .. }
            | Event::Cancel { .. }
            | Event::TearDown { .. }
            | Event::Redeploy { .. }
            | Event::Rebuild { .. } => Ok(None),
        }
    }

    /// Once for each run and reason, not at each look.
    fn tell_of_waiting(&mut self, project: &ProjectName, error: &ConfigError) {
        let sentence = say::waits_for_repair(project, &error_chain(error));
        if self.told.get(project) != Some(&sentence) {
            warn!("{sentence}");
            self.told.insert(project.clone(), sentence);
        }
    }

    fn decide(&mut self, entry: &InboxEntry, now: Timestamp) -> Result<String, DispatchError> {
        let delivery = &entry.delivery;
        match &delivery.event {
            Event::Push { branch, sha } => {
                self.enqueue(entry.id, delivery, GitRef::Branch(branch.clone()), sha, now)
            }
            Event::PullRequest { number, sha, head: _ } => {
                self.enqueue(entry.id, delivery, GitRef::PullRequest(*number), sha, now)
            }
            Event::BranchDeleted { branch } => {
                self.tear_down(delivery, GitRef::Branch(branch.clone()), say::BRANCH_GONE, now)
            }
            Event::PullRequestClosed { number } => {
                let git_ref = GitRef::PullRequest(*number);
                self.tear_down(delivery, git_ref, say::PULL_REQUEST_CLOSED, now)
            }
            Event::Cancel { build } => {
                let reason = say::asked_by("cancelled", delivery.by.as_deref());
                let state = self.builds.request_cancel(*build, &reason, now)?;
                kill_point!(CancellationWritten, &delivery.project);
                Ok(say::cancelled(*build, state))
            }
            Event::TearDown { git_ref, service: None } => {
                let reason = say::asked_by("torn down", delivery.by.as_deref());
                self.tear_down(delivery, git_ref.clone(), &reason, now)
            }
            Event::TearDown { git_ref, service } => {
                let reason = say::asked_by("torn down", delivery.by.as_deref());
                let scope = TearDownScope {
                    project: delivery.project.clone(),
                    git_ref: git_ref.clone(),
                    service: service.clone(),
                };
                let marked = self.state.begin_teardown(&scope, &reason, now)?;
                Ok(say::torn_down(marked.len(), 0, &reason))
            }
            Event::Redeploy { git_ref, service } => {
                self.redeploy(entry.id, delivery, git_ref, service.as_ref(), now)
            }
            Event::Rebuild { git_ref } => self.rebuild(entry.id, delivery, git_ref, now),
        }
    }

    fn enqueue(
        &mut self,
        request: EventId,
        delivery: &Delivery,
        git_ref: GitRef,
        sha: &CommitSha,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        if let Some(newest) = self.builds.newest_of(&delivery.project, &git_ref)? {
            let at_it = matches!(newest.state, BuildState::Queued | BuildState::Building)
                && !newest.cancel_requested;
            if at_it && newest.sha == *sha && newest.request != request {
                return Ok(say::already_building(newest.id));
            }
        }
        let new = NewBuild {
            request,
            project: delivery.project.clone(),
            git_ref,
            sha: sha.clone(),
            by: delivery.by.clone(),
            received_at: delivery.received_at,
        };
        let enqueued = self.builds.enqueue(&new, now)?;
        kill_point!(BuildQueued, &delivery.project);
        if self.config.supersede_running {
            for running in enqueued.running {
                // Written before the unit is stopped, so that whatever settles it knows why.
                self.builds.supersede_running(running, enqueued.id)?;
                kill_point!(SupersessionWritten, &delivery.project);
            }
        }
        Ok(say::queued(enqueued.id))
    }

    /// Ends a ref: its builds first, so that none of them comes back with a deployment.
    fn tear_down(
        &mut self,
        delivery: &Delivery,
        git_ref: GitRef,
        reason: &str,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let filter = BuildFilter {
            project: Some(delivery.project.clone()),
            git_ref: Some(git_ref.clone()),
            ..BuildFilter::default()
        };
        let mut ended = 0;
        for build in self.builds.list(&filter, MOST_OF_REF)? {
            if !build.state.is_final() {
                self.builds.request_cancel(build.id, reason, now)?;
                kill_point!(CancellationWritten, &delivery.project);
                ended += 1;
            }
        }
        // Those that ended a moment ago are made deployments first, and go with the others.
        self.hand_over(now)?;
        let scope = TearDownScope { project: delivery.project.clone(), git_ref, service: None };
        let marked = self.state.begin_teardown(&scope, reason, now)?;
        kill_point!(TeardownMarked, &delivery.project);
        Ok(say::torn_down(marked.len(), ended, reason))
    }
}

/// Refs of which something waits for a repair: what came later waits behind it, so that a branch
/// which was pushed and then deleted does not come back.
#[derive(Debug, Default)]
struct Waits(BTreeSet<(ProjectName, GitRef)>);

impl Waits {
    fn begin(&mut self, delivery: &Delivery) {
        self.0.extend(delivery.event.git_ref().map(|git_ref| (delivery.project.clone(), git_ref)));
    }

    /// A wish about a build names no ref, and waits for nothing.
    fn is_before(&self, delivery: &Delivery) -> bool {
        let of = |git_ref| self.0.contains(&(delivery.project.clone(), git_ref));
        !self.0.is_empty() && delivery.event.git_ref().is_some_and(of)
    }

    fn is_for(&self, project: &ProjectName) -> bool {
        self.0.iter().any(|(waiting, _)| waiting == project)
    }
}

fn warn_of_other_forge(project: &ProjectConfig, delivery: &Delivery) {
    if let (Some(told), Some(sent)) = (project.forge, delivery.forge)
        && told != sent
    {
        warn!("{}.toml says forge = \"{told}\", but {sent} sends its webhooks", project.name);
    }
}

/// What the operator does not want built, whoever pushed it.
pub(crate) fn refuse_ref(project: &ProjectConfig, git_ref: &GitRef) -> Option<String> {
    match git_ref {
        GitRef::Branch(branch) => {
            let wanted = project.branches.matches(branch) || *branch == project.default_branch;
            (!wanted).then(|| say::branch_not_deployed(&project.name, branch))
        }
        GitRef::PullRequest(_) => match project.pull_requests {
            PullRequestPolicy::None => Some(say::pull_requests_off(&project.name)),
            PullRequestPolicy::Trusted | PullRequestPolicy::All => None,
        },
    }
}

/// Until there is an approval policy, only what the repository's own members pushed is built.
fn refuse_pull_request(
    project: &ProjectConfig,
    number: u64,
    head: &PullRequestHead,
) -> Option<String> {
    let foreign =
        || (!head.is_same_repository()).then(|| say::foreign_head(head.repository.as_deref()));
    refuse_ref(project, &GitRef::PullRequest(number)).or_else(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_waits_behind_what_waits() {
        let delivery = |project: &str, event: Event| Delivery {
            project: project.parse().unwrap(),
            forge: None,
            delivery_id: None,
            received_at: Timestamp::from_millis(1),
            by: None,
            event,
        };
        let push = |branch: &str| Event::Push {
            branch: branch.parse().unwrap(),
            sha: "a".repeat(40).parse().unwrap(),
        };
        let gone = |branch: &str| Event::BranchDeleted { branch: branch.parse().unwrap() };
        let mut waits = Waits::default();
        assert!(!waits.is_before(&delivery("site", gone("main"))));
        waits.begin(&delivery("site", push("main")));
        assert!(waits.is_before(&delivery("site", gone("main"))));
        assert!(!waits.is_before(&delivery("site", gone("next"))));
        assert!(!waits.is_before(&delivery("shop", gone("main"))));
        let cancel = Event::Cancel { build: kennel_core::BuildId::from_row(1) };
        assert!(!waits.is_before(&delivery("site", cancel)));
        assert!(waits.is_for(&"site".parse().unwrap()) && !waits.is_for(&"shop".parse().unwrap()));
    }
}
