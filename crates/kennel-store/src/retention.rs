//! Rows that are over, and their end.
//!
//! A row stays, however old, while something goes by it: what serves or is kept for a way back, the
//! newest of everything that is ordered, and what nobody has looked at yet. Numbers are never given
//! twice, so that what is gone cannot be taken for something else.

use std::collections::BTreeSet;

use kennel_core::{BuildId, GitRef, ProjectName, Timestamp};

use crate::column::parsed;
use crate::database::immediate;
use crate::{Builds, Inbox, State, StoreError};

/// Branches and pull requests, each of its project.
pub type Refs = BTreeSet<(ProjectName, GitRef)>;

/// What forges say of a ref.
const FACT: &str = "kind IN ('push', 'pull_request', 'branch_deleted', 'pull_request_closed')";

/// Those of them that end it.
const END: &str = "kind IN ('branch_deleted', 'pull_request_closed')";

/// What ends a ref's deployments, whoever said it.
const ENDING: &str = "kind IN ('branch_deleted', 'pull_request_closed', 'tear_down')";

/// Deployments that have ended for good and left nothing.
const OVER: &str = "(state = 'torn_down'
    OR cleaned = 1 AND state IN ('failed', 'superseded', 'unchanged', 'cancelled'))";

impl Inbox {
    /// The refs that are there, by what forges told last.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn living(&self) -> Result<Refs, StoreError> {
        // The other columns are of the row with the greatest number (SQLite, "bare columns").
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT project, git_ref FROM
                (SELECT project, git_ref, kind, max(id) FROM events
                 WHERE {FACT} GROUP BY project, git_ref)
             WHERE NOT {END}"
        ))?;
        let rows = statement
            .query_map([], |row| Ok((parsed(row, "project")?, parsed(row, "git_ref")?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets rows that were taken before, but for the newest fact of each ref, by which
    /// kennel-poll knows what was told, and its newest end, by which a redeployment knows what is
    /// over. Of a ref whose newest fact is its end nothing stays. Says how many went.
    ///
    /// # Errors
    /// Any [`StoreError`]; then none is forgotten.
    pub fn forget_before(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let forgotten = tx.execute(
            &format!(
                "WITH facts AS
                    (SELECT project, git_ref, kind, consumed_at, max(id) AS id FROM events
                     WHERE {FACT} GROUP BY project, git_ref),
                 endings AS
                    (SELECT max(id) AS id FROM events WHERE {ENDING} GROUP BY project, git_ref)
                 DELETE FROM events WHERE consumed_at < ?1 AND (
                    id NOT IN (SELECT id FROM facts) AND id NOT IN (SELECT id FROM endings)
                    OR (project, git_ref) IN
                        (SELECT project, git_ref FROM facts WHERE {END} AND consumed_at < ?1))"
            ),
            [before.millis()],
        )?;
        tx.commit()?;
        Ok(forgotten)
    }
}

impl State {
    /// Forgets deployments that ended before, but for those that the next one of their output is
    /// compared with, if something of the branch is there. Says how many went.
    ///
    /// # Errors
    /// Any [`StoreError`]; then none is forgotten.
    pub fn forget_before(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let sql = format!(
            "WITH newest AS
                (SELECT max(id) AS id FROM deployments GROUP BY project, git_ref, service),
             latest AS
                (SELECT id, max(request_id) FROM deployments GROUP BY project, git_ref, service),
             there AS
                (SELECT project, git_ref FROM deployments WHERE state != 'torn_down')
             DELETE FROM deployments WHERE {OVER} AND ended_at < ?1 AND (
                id NOT IN (SELECT id FROM newest) AND id NOT IN (SELECT id FROM latest)
                OR (project, git_ref) NOT IN (SELECT project, git_ref FROM there))"
        );
        let forgotten = tx.execute(&sql, [before.millis()])?;
        tx.commit()?;
        Ok(forgotten)
    }

    /// The builds of which something is deployed, kept, or told of by a row, and their refs.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn deployed_builds(&self) -> Result<(BTreeSet<BuildId>, Refs), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT build_id, project, git_ref FROM deployments WHERE state != 'torn_down'",
        )?;
        let mut rows = statement.query([])?;
        let (mut builds, mut refs) = (BTreeSet::new(), Refs::new());
        while let Some(row) = rows.next()? {
            builds.insert(BuildId::from_row(row.get("build_id")?));
            refs.insert((parsed(row, "project")?, parsed(row, "git_ref")?));
        }
        Ok((builds, refs))
    }
}

impl Builds {
    /// Forgets builds that ended before and of which everything was made that could be, but for
    /// `needed` and, of `refs`, the newest and the newest that has built something. Says how many
    /// went.
    ///
    /// # Errors
    /// Any [`StoreError`]; then none is forgotten.
    pub fn forget_before(
        &mut self,
        before: Timestamp,
        needed: &BTreeSet<BuildId>,
        refs: &Refs,
    ) -> Result<usize, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let over: Vec<(BuildId, (ProjectName, GitRef), bool)> = tx
            .prepare(
                "WITH newest AS
                    (SELECT max(id) AS id FROM builds GROUP BY project, git_ref
                     UNION SELECT max(id) FROM builds WHERE state IN ('succeeded', 'partial')
                     GROUP BY project, git_ref)
                 SELECT id, project, git_ref, id IN (SELECT id FROM newest) AS is_newest
                 FROM builds WHERE handed_over = 1 AND swept = 1 AND finished_at < ?1
                    AND state NOT IN ('waiting_for_approval', 'queued', 'building')",
            )?
            .query_map([before.millis()], |row| {
                let git_ref = (parsed(row, "project")?, parsed(row, "git_ref")?);
                Ok((BuildId::from_row(row.get("id")?), git_ref, row.get("is_newest")?))
            })?
            .collect::<Result<_, _>>()?;
        let mut forgotten = 0;
        for (id, git_ref, is_newest) in over {
            let is_needed = needed.contains(&id) || is_newest && refs.contains(&git_ref);
            if !is_needed {
                forgotten += tx.execute("DELETE FROM builds WHERE id = ?1", [id.get()])?;
            }
        }
        tx.commit()?;
        Ok(forgotten)
    }
}
