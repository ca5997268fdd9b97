//! One look at one project's forge.

use std::io;
use std::time::{Duration, SystemTime};

use kennel_build::{AskError, Leash, Remote};
use kennel_core::config::ProjectConfig;
use kennel_core::{Delivery, EventId, Layout, ProjectName, Timestamp, error_chain};
use kennel_store::{Access, Inbox, Look, StoreError};
use tracing::{info, warn};

use crate::compare::{Found, Heads, compare, is_believable, there_before};
use crate::say;

/// For how long a forge is left alone that did not answer, doubled each time; a little less than
/// kennel-poll.timer's period, so that its first pause is one of those.
const FIRST_PAUSE: Duration = Duration::from_secs(4 * 60);

/// The longest time for which it is.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Who caused the rows, for people.
const BY: &str = "kennel-poll";

/// Why a look came to nothing. A forge that does not answer is none of these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read or write what is remembered of its forge")]
    Look(#[source] io::Error),
}

/// A project that is looked at.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    layout: &'a Layout,
    leash: &'a Leash,
    project: &'a ProjectConfig,
    pub(crate) look: Look,
}

impl<'a> Visit<'a> {
    /// Reads what the last look left.
    pub(crate) fn prepare(
        layout: &'a Layout,
        leash: &'a Leash,
        project: &'a ProjectConfig,
    ) -> Result<Self, VisitError> {
        let last = Look::load(layout, &project.name).map_err(VisitError::Look)?;
        let same = last.filter(|look| look.repo_url == project.repo_url);
        let look = same.unwrap_or_else(|| Look::never(project.repo_url.clone()));
        Ok(Self { layout, leash, project, look })
    }

    /// The project's name.
    pub(crate) fn name(&self) -> &'a ProjectName {
        &self.project.name
    }

    /// Whether the forge may be asked again.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.look.next_at.is_none_or(|next| {
            // Further away than any pause: the clock was set back.
            now >= next || next > now.plus(LONGEST_PAUSE)
        })
    }

    /// Asks the forge, which gets so long for an answer, and appends what nobody told of. Says
    /// whether there was anything.
    pub(crate) fn make(mut self, patience: Duration) -> Result<bool, VisitError> {
        let mut inbox = Inbox::open(&self.layout.inbox_db(), Access::Patient)?;
        let appended = match self.find(&mut inbox, patience)? {
            Ok(appended) => appended,
            Err(error) => {
                self.note_failure(&error_chain(&error));
                0
            }
        };
        self.look.save(self.layout, &self.project.name).map_err(VisitError::Look)?;
        Ok(appended > 0)
    }

    fn find(
        &mut self,
        inbox: &mut Inbox,
        patience: Duration,
    ) -> Result<Result<usize, AskError>, StoreError> {
        let name = &self.project.name;
        let url = &self.project.repo_url;
        let remote = Remote::new(self.leash, self.layout, name, url, patience);
        // Before the forge is asked: whatever is told from here on may be newer than its answer.
        let told = inbox.told(name)?;
        let heads = match remote.heads() {
            Ok(heads) => heads,
            Err(error) => return Ok(Err(error)),
        };
        if self.look.answered_at.is_none() {
            self.look.older = there_before(self.project, &heads, &told);
        }
        let mut found = compare(self.project, &heads, &told, &self.look.older);
        if found.iter().any(|found| found.takes_back) {
            // Forges answer from several machines, and one may be behind the others.
            match remote.heads() {
                Ok(again) => {
                    let again = compare(self.project, &again, &told, &self.look.older);
                    found.retain(|found| !found.takes_back || again.contains(found));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let appended = self.append(inbox, &found, told.until)?;
        self.look.older.retain(|branch, sha| {
            heads.get(branch) == Some(sha) && !told.branches.contains_key(branch)
        });
        self.note_answer(
            &heads,
            told.branches.values().any(|it| matches!(it.first(), Some(Some(_)))),
        );
        Ok(Ok(appended))
    }

    fn append(
        &self,
        inbox: &mut Inbox,
        found: &[Found],
        since: EventId,
    ) -> Result<usize, StoreError> {
        if found.is_empty() {
            return Ok(0);
        }
        let delivery = |found: &Found| Delivery {
            project: self.project.name.clone(),
            forge: None,
            delivery_id: None,
            received_at: SystemTime::now().into(),
            by: Some(BY.into()),
            uid: None,
            event: found.event.clone(),
        };
        let deliveries: Vec<Delivery> = found.iter().map(delivery).collect();
        let appended = inbox.append_found(&deliveries, since)?;
        for delivery in appended.iter().filter_map(|index| deliveries.get(*index)) {
            info!("{}", say::found(&delivery.project, &delivery.event));
        }
        Ok(appended.len())
    }

    fn note_failure(&mut self, why: &str) {
        let doublings = self.look.failures.min(10);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        self.look.failures = self.look.failures.saturating_add(1);
        self.look.next_at = Some(Timestamp::from(SystemTime::now()).plus(pause));
        self.note_trouble(Some(why.to_owned()));
    }

    fn note_answer(&mut self, heads: &Heads, any_branch: bool) {
        self.look.failures = 0;
        self.look.next_at = None;
        self.look.answered_at = Some(SystemTime::now().into());
        let doubtful = any_branch && !is_believable(self.project, heads);
        self.note_trouble(doubtful.then(|| say::no_default_branch(self.project)));
    }

    /// Once, not at each look.
    fn note_trouble(&mut self, trouble: Option<String>) {
        if self.look.trouble == trouble {
            return;
        }
        match &trouble {
            Some(trouble) => warn!("{}", say::trouble(&self.project.name, trouble)),
            None => info!("{}", say::recovered(&self.project.name)),
        }
        self.look.trouble = trouble;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(project: &ProjectConfig) -> Visit<'_> {
        static LAYOUT: std::sync::LazyLock<Layout> = std::sync::LazyLock::new(Layout::default);
        static LEASH: std::sync::LazyLock<Leash> = std::sync::LazyLock::new(Leash::itself);
        let look = Look::never(project.repo_url.clone());
        Visit { layout: &LAYOUT, leash: &LEASH, project, look }
    }

    #[test]
    fn a_forge_that_is_silent_is_left_alone_for_longer_and_longer() {
        let text = "repo_url = \"/srv/site.git\"\n";
        let project = ProjectConfig::parse("site".parse().unwrap(), text, "site.toml").unwrap();
        let mut visit = at(&project);
        let mut minutes = Vec::new();
        for _ in 0..6 {
            visit.note_failure("it is silent");
            let now = Timestamp::from(SystemTime::now());
            let left = visit.look.next_at.unwrap().since(now) + Duration::from_secs(30);
            minutes.push(left.as_secs() / 60);
            assert!(!visit.is_due(now));
            assert!(visit.is_due(visit.look.next_at.unwrap()));
            let set_back = Timestamp::from_millis(now.millis() - 86_400_000);
            assert!(visit.is_due(set_back));
        }
        assert_eq!(minutes, [4, 8, 16, 32, 60, 60]);
        visit.note_answer(&Heads::new(), false);
        assert_eq!((visit.look.failures, visit.look.next_at), (0, None));
        assert_eq!(visit.look.trouble, None);
        visit.note_answer(&Heads::new(), true);
        assert!(visit.look.trouble.is_some());
    }
}
