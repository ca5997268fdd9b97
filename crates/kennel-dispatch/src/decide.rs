//! What each inbox row means: the decisions, written as rows of the other two databases.
//!
//! Each can be taken twice, since the program may die between a decision and the note beside the
//! inbox row. Units are not touched here.

use std::collections::BTreeSet;

use kennel_core::config::{ProjectConfig, PullRequestPolicy};
use kennel_core::{
    BuildState, CommitSha, Delivery, Event, GitRef, OutputKey, ProjectName, PullRequestHead,
    ServiceName, Timestamp, error_chain,
};
use kennel_store::{BuildFilter, ConfigError, InboxEntry, NewBuild, Place, Scope, load_project};
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
            let verdict = match self.judge(&entry.delivery) {
                Ok(verdict) => verdict,
                Err(error) => {
                    self.tell_of_waiting(&entry.delivery.project, &error);
                    waits.begin(&entry.delivery);
                    continue;
                }
            };
            any = true;
            let (outcome, is_ignored) = match verdict {
                Verdict::Ignored(why) => (why, true),
                Verdict::Accepted(origin) => (self.decide(entry, origin, now)?, false),
            };
            kill_point!(EventDecided, &entry.delivery.project);
            info!("{} of {}: {outcome}", entry.delivery.event.kind(), entry.delivery.project);
            self.state.record(entry, &outcome)?;
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

    /// Whether anything is done about a delivery. It cannot be said of a push or pull request while
    /// the project's file cannot be used.
    fn judge(&self, delivery: &Delivery) -> Result<Verdict, ConfigError> {
        let (git_ref, head) = match &delivery.event {
            Event::Push { branch, .. } => (GitRef::Branch(branch.clone()), None),
            Event::PullRequest { number, head, .. } => (GitRef::PullRequest(*number), Some(head)),
            Event::BranchDeleted { .. }
            | Event::PullRequestClosed { .. }
            | Event::Approve { .. }
            | Event::Cancel { .. }
            | Event::TearDown { .. }
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
            | Event::TokenRevoked { .. } => return Ok(Verdict::Accepted(Origin::Repository)),
        };
        let project = match load_project(&self.layout, &delivery.project) {
            Ok(project) => project,
            Err(error @ ConfigError::NoProject { .. }) => {
                return Ok(Verdict::Ignored(say::no_project(&error.to_string())));
            }
            Err(error) => return Err(error),
        };
        warn_of_other_forge(&project, delivery);
        Ok(match refuse_ref(&project, &git_ref) {
            Some(why) => Verdict::Ignored(why),
            None => Verdict::Accepted(head.map_or(Origin::Repository, |head| {
                Origin::of_pull_request(project.pull_requests, head)
            })),
        })
    }

    /// Once for each run and reason, not at each look.
    fn tell_of_waiting(&mut self, project: &ProjectName, error: &ConfigError) {
        let sentence = say::waits_for_repair(project, &error_chain(error));
        if self.told.get(project) != Some(&sentence) {
            warn!("{sentence}");
            self.told.insert(project.clone(), sentence);
        }
    }

    fn decide(
        &mut self,
        entry: &InboxEntry,
        origin: Origin,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let delivery = &entry.delivery;
        match &delivery.event {
            Event::Push { branch, sha } => {
                self.enqueue(entry, GitRef::Branch(branch.clone()), sha, origin, now)
            }
            Event::PullRequest { number, sha, head: _ } => {
                self.enqueue(entry, GitRef::PullRequest(*number), sha, origin, now)
            }
            Event::BranchDeleted { branch } => {
                self.tear_down(delivery, GitRef::Branch(branch.clone()), say::BRANCH_GONE, now)
            }
            Event::PullRequestClosed { number } => {
                let git_ref = GitRef::PullRequest(*number);
                self.tear_down(delivery, git_ref, say::PULL_REQUEST_CLOSED, now)
            }
            Event::Approve { build } => {
                let by = delivery.by.as_deref().unwrap_or_default();
                Ok(say::approved(*build, self.builds.approve(*build, by, now)?.as_ref()))
            }
            Event::Cancel { build } => {
                let reason = say::asked_by("cancelled", delivery.by.as_deref());
                let state = self.builds.request_cancel(*build, &reason, now)?;
                kill_point!(CancellationWritten, &delivery.project);
                // One that ended a moment ago is made deployments first, and these end too.
                self.hand_over(now)?;
                let ended = self.state.cancel_build(*build, &reason, now)?;
                Ok(say::cancelled(*build, state, &ended))
            }
            Event::TearDown { git_ref, service: None } => {
                let reason = say::asked_by("torn down", delivery.by.as_deref());
                self.tear_down(delivery, git_ref.clone(), &reason, now)
            }
            Event::TearDown { git_ref, service } => {
                let reason = say::asked_by("torn down", delivery.by.as_deref());
                let scope = scope(delivery, git_ref, service.as_ref());
                let marked = self.state.begin_teardown(&scope, &reason, now)?;
                Ok(say::torn_down(marked.len(), 0, &reason))
            }
            Event::Redeploy { git_ref, service } => {
                self.redeploy(entry.id, delivery, git_ref, service.as_ref(), now)
            }
            Event::Rebuild { git_ref } => self.rebuild(entry.id, delivery, git_ref, now),
            Event::RollBack { git_ref, service, to } => {
                let key = OutputKey {
                    project: delivery.project.clone(),
                    git_ref: git_ref.clone(),
                    service: service.clone(),
                };
                self.roll_back(entry.id, key, *to, delivery.by.as_deref(), now)
            }
            Event::Pin { git_ref, service } => {
                let scope = scope(delivery, git_ref, service.as_ref());
                self.pin(&scope, delivery.by.as_deref(), now)
            }
            Event::Unpin { git_ref, service } => {
                self.unpin(&scope(delivery, git_ref, service.as_ref()))
            }
            Event::MaintenanceOn { git_ref, service, notice } => {
                let place = place(delivery, git_ref.as_ref(), service.as_ref());
                self.begin_maintenance(&place, notice, delivery.by.as_deref(), now)
            }
            Event::MaintenanceOff { git_ref, service } => {
                self.end_maintenance(&place(delivery, git_ref.as_ref(), service.as_ref()))
            }
            Event::Extend { git_ref, by } => self.extend(entry, git_ref, *by),
            Event::Expired { git_ref } => self.expire(delivery, git_ref, now),
            // Done by whoever says so, who may open the files.
            Event::SecretSet { .. }
            | Event::SecretRemoved { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. } => Ok(say::DONE.to_owned()),
        }
    }

    fn enqueue(
        &mut self,
        entry: &InboxEntry,
        git_ref: GitRef,
        sha: &CommitSha,
        origin: Origin,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let InboxEntry { id: request, delivery } = entry;
        if let Some(newest) = self.builds.newest_of(&delivery.project, &git_ref)? {
            let at_it = !newest.state.is_final() && !newest.cancel_requested;
            if at_it && newest.sha == *sha && newest.request != *request {
                return Ok(say::already_building(newest.id));
            }
        }
        // Who approved a commit did so for good, and for no other.
        let needs_approval = origin == Origin::Stranger
            && self.builds.approval_of(&delivery.project, &git_ref, sha)?.is_none();
        let place = format!("{}/{}", delivery.project, git_ref.short());
        let new = NewBuild {
            request: *request,
            project: delivery.project.clone(),
            git_ref,
            sha: sha.clone(),
            by: delivery.by.clone(),
            received_at: delivery.received_at,
            fork: origin != Origin::Repository,
            needs_approval,
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
        Ok(if enqueued.state == BuildState::WaitingForApproval {
            say::awaits_approval(enqueued.id, &place)
        } else {
            say::queued(enqueued.id)
        })
    }

    /// Ends a ref: its builds first, so that none of them comes back with a deployment.
    pub(crate) fn tear_down(
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
        let scope = Scope { project: delivery.project.clone(), git_ref, service: None };
        let marked = self.state.begin_teardown(&scope, reason, now)?;
        kill_point!(TeardownMarked, &delivery.project);
        Ok(say::torn_down(marked.len(), ended, reason))
    }
}

fn scope(delivery: &Delivery, git_ref: &GitRef, service: Option<&ServiceName>) -> Scope {
    Scope { project: delivery.project.clone(), git_ref: git_ref.clone(), service: service.cloned() }
}

fn place(delivery: &Delivery, git_ref: Option<&GitRef>, service: Option<&ServiceName>) -> Place {
    Place {
        project: delivery.project.clone(),
        git_ref: git_ref.cloned(),
        service: service.cloned(),
    }
}

/// What is done about a delivery.
#[derive(Debug)]
enum Verdict {
    /// Nothing, and why.
    Ignored(String),
    /// What it says, of a commit from there.
    Accepted(Origin),
}

/// Where a commit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From the repository itself, to which only its members can push.
    Repository,
    /// From somewhere else, and is built unasked.
    Fork,
    /// From somewhere else, and is built when somebody has approved it.
    Stranger,
}

impl Origin {
    fn of_pull_request(policy: PullRequestPolicy, head: &PullRequestHead) -> Self {
        match policy {
            _ if head.is_same_repository() => Self::Repository,
            PullRequestPolicy::All => Self::Fork,
            PullRequestPolicy::Trusted if head.is_of_member() => Self::Fork,
            // None of them comes here; were one to, somebody would be asked.
            PullRequestPolicy::Trusted | PullRequestPolicy::None => Self::Stranger,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_wait_and_members_do_not() {
        let head = |repository: Option<&str>, association: Option<&str>| PullRequestHead {
            repository: repository.map(str::to_owned),
            base_repository: "team/site".into(),
            association: association.map(str::to_owned),
        };
        let (own, fork) = (Some("team/site"), Some("eve/site"));
        let trusted = PullRequestPolicy::Trusted;
        for (policy, head, origin) in [
            (trusted, head(own, None), Origin::Repository),
            (trusted, head(own, Some("NONE")), Origin::Repository),
            (trusted, head(fork, None), Origin::Stranger),
            (trusted, head(None, None), Origin::Stranger),
            (trusted, head(fork, Some("CONTRIBUTOR")), Origin::Stranger),
            (trusted, head(fork, Some("FIRST_TIMER")), Origin::Stranger),
            (trusted, head(fork, Some("MEMBER")), Origin::Fork),
            (trusted, head(fork, Some("OWNER")), Origin::Fork),
            (trusted, head(None, Some("COLLABORATOR")), Origin::Fork),
            (PullRequestPolicy::All, head(fork, None), Origin::Fork),
            (PullRequestPolicy::All, head(own, None), Origin::Repository),
        ] {
            assert_eq!(Origin::of_pull_request(policy, &head), origin, "{policy}: {head:?}");
        }
    }

    #[test]
    fn what_comes_later_waits_behind_what_waits() {
        let delivery = |project: &str, event: Event| Delivery {
            project: project.parse().unwrap(),
            forge: None,
            delivery_id: None,
            received_at: Timestamp::from_millis(1),
            by: None,
            uid: None,
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
