//! What of the past is kept, and what is forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use kennel_core::{ProjectName, Timestamp};
use kennel_store::{Builds, Inbox, State, StoreError};

/// For how long a delivery is remembered at least: forges send it again when somebody asks for it,
/// and one that is not remembered is a new push. None of them keeps deliveries for longer.
const DELIVERIES: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is kept.
pub(crate) struct Kept {
    /// For how long what has ended is.
    pub rows: Duration,
    /// The projects of which the newest build of each branch is, whatever its age.
    pub projects: BTreeSet<ProjectName>,
}

/// How many rows were forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub deliveries: usize,
    pub builds: usize,
    pub deployments: usize,
}

impl Kept {
    /// Forgets everything else. Builds last: what rows of the other databases need of them stays.
    ///
    /// # Errors
    /// Any [`StoreError`]; then what comes after it is not forgotten yet.
    pub(crate) fn forget_others(
        &self,
        inbox: &mut Inbox,
        builds: &mut Builds,
        state: &mut State,
        now: Timestamp,
    ) -> Result<Forgotten, StoreError> {
        let before = now.minus(self.rows);
        let deployments = state.forget_before(before)?;
        let deliveries = inbox.forget_before(now.minus(self.rows.max(DELIVERIES)))?;
        let (needed, mut refs) = state.deployed_builds()?;
        let living = inbox.living()?.into_iter();
        refs.extend(living.filter(|(project, _)| self.projects.contains(project)));
        let builds = builds.forget_before(before, &needed, &refs)?;
        Ok(Forgotten { deliveries, builds, deployments })
    }
}
