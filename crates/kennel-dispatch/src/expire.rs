//! Branches that nobody needs any more, and those that somebody wants to keep.
//!
//! The inbox says that a branch has expired as kennel-sweep saw it. Between then and now somebody may
//! have pushed, so that it is seen once more, from all rows.

use kennel_core::config::{Expires, Period, ProjectConfig};
use kennel_core::{Delivery, GitRef, ProjectName, Timestamp};
use kennel_store::{InboxEntry, Life, load_project};

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::say;

impl Dispatcher {
    /// Ends a branch as if it were deleted, if nobody has used it since it was found to be unused.
    pub(crate) fn expire(
        &mut self,
        delivery: &Delivery,
        git_ref: &GitRef,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let (project, life) = match self.life(&delivery.project, git_ref)? {
            Ok(found) => found,
            Err(refusal) => return Ok(refusal),
        };
        if life.ends_at(&project, &self.config).is_none_or(|end| end > now) {
            return Ok(say::used_since());
        }
        let reason = match project.expires(git_ref, life.fork, &self.config) {
            Expires::Pushed(length) => say::expired_fork(Period(length)),
            Expires::Unused(length) => say::expired(Period(length)),
            Expires::Never => return Ok(say::used_since()),
        };
        self.tear_down(delivery, git_ref.clone(), &reason, now)
    }

    /// Has a branch stay longer than it would by itself.
    pub(crate) fn extend(
        &mut self,
        entry: &InboxEntry,
        git_ref: &GitRef,
        by: Period,
    ) -> Result<String, DispatchError> {
        let delivery = &entry.delivery;
        let place = format!("{}/{}", delivery.project, git_ref.short());
        let (project, life) = match self.life(&delivery.project, git_ref)? {
            Ok(found) => found,
            Err(refusal) => return Ok(refusal),
        };
        let Some(end) = life.ends_at(&project, &self.config) else {
            return Ok(say::does_not_expire(&place, &life));
        };
        // By the wish's own time, so that it says the same when it is taken again.
        let until = end.max(delivery.received_at).plus(by.0);
        self.state.keep(&delivery.project, git_ref, until, entry.id)?;
        Ok(say::extended(&place, by, delivery.by.as_deref()))
    }

    /// What keeps a branch, and by what rules; or why nobody can tell.
    fn life(
        &self,
        project: &ProjectName,
        git_ref: &GitRef,
    ) -> Result<Result<(ProjectConfig, Life), String>, DispatchError> {
        let config = match load_project(&self.layout, project) {
            Ok(config) => config,
            Err(error) => return Ok(Err(say::no_project(&kennel_core::error_chain(&error)))),
        };
        let lives = self.state.lives(&self.builds)?;
        let life = lives.into_iter().find(|it| it.project == *project && it.git_ref == *git_ref);
        Ok(life
            .map(|life| (config, life))
            .ok_or_else(|| say::not_deployed(&format!("{project}/{}", git_ref.short()))))
    }
}
