//! How long branches stay: what keeps each of them, and when it goes.
//!
//! Only what moves without a row of its own is written here: requests, and wishes of people. When a
//! branch was pushed, builds and deployments say.

use std::collections::BTreeMap;

use kennel_core::config::{Expires, HostConfig, ProjectConfig};
use kennel_core::{BuildState, DeploymentId, EventId, GitRef, ProjectName, Timestamp};
use rusqlite::{Row, Transaction, params};

use crate::column::{moment, parsed};
use crate::database::immediate;
use crate::{Builds, State, StoreError};

/// A branch or pull request of which something is deployed, and what keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// Whether something of it comes from outside of the repository.
    pub fork: bool,
    /// When it was pushed last, or deployed again.
    pub pushed_at: Timestamp,
    /// When somebody asked for something of it last, as far as the router was asked.
    pub used_at: Option<Timestamp>,
    /// Until when somebody wants it to stay.
    pub kept_until: Option<Timestamp>,
    /// The inbox row that said so.
    pub kept_by: Option<EventId>,
    /// Whether something of it is pinned: what is to keep serving does not go.
    pub is_pinned: bool,
    /// Whether something of it is being built, or waits for that.
    pub is_building: bool,
}

/// Deployments that count for a branch: what has ended, or ends, keeps nothing.
const LIVES: &str = "deployments.state NOT IN ('tearing_down', 'torn_down')";

impl Life {
    /// When it goes, as things stand; none if it does not.
    #[must_use]
    pub fn ends_at(&self, project: &ProjectConfig, host: &HostConfig) -> Option<Timestamp> {
        if self.is_pinned || self.is_building {
            return None;
        }
        let by_itself = match project.expires(&self.git_ref, self.fork, host) {
            Expires::Never => return None,
            Expires::Pushed(length) => self.pushed_at.plus(length),
            Expires::Unused(length) => {
                self.pushed_at.max(self.used_at.unwrap_or(self.pushed_at)).plus(length)
            }
        };
        Some(by_itself.max(self.kept_until.unwrap_or(by_itself)))
    }
}

impl State {
    /// Every branch and pull request of which something is deployed, by project and ref.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn lives(&self, builds: &Builds) -> Result<Vec<Life>, StoreError> {
        let sql = format!(
            "SELECT project, git_ref, max(fork) AS fork, max(created_at) AS created_at, used_at,
                kept_until, kept_by, EXISTS (SELECT 1 FROM pins WHERE pins.project = deployments.project
                    AND pins.git_ref = deployments.git_ref) AS is_pinned
             FROM deployments LEFT JOIN activity USING (project, git_ref)
             WHERE {LIVES} GROUP BY project, git_ref ORDER BY project, git_ref"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut lives = statement.query_map([], life)?.collect::<Result<Vec<_>, _>>()?;
        for life in &mut lives {
            if let Some(newest) = builds.newest_of(&life.project, &life.git_ref)? {
                life.pushed_at = life.pushed_at.max(newest.received_at);
                life.is_building =
                    matches!(newest.state, BuildState::Queued | BuildState::Building);
            }
        }
        Ok(lives)
    }

    /// Writes down when deployments were used last. Moments later than now are of a clock that was
    /// wrong, and count as now.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing was written.
    pub fn used(
        &mut self,
        uses: &BTreeMap<DeploymentId, Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let tx = immediate(&mut self.connection)?;
        let sql = format!(
            "INSERT INTO activity (project, git_ref, used_at)
             SELECT project, git_ref, min(?2, ?3) FROM deployments WHERE id = ?1 AND {LIVES}
             ON CONFLICT (project, git_ref)
                DO UPDATE SET used_at = min(max(coalesce(used_at, 0), excluded.used_at), ?3)"
        );
        for (id, at) in uses {
            tx.prepare_cached(&sql)?.execute(params![id.get(), at.millis(), now.millis()])?;
        }
        Ok(tx.commit()?)
    }

    /// Has a branch stay until then at least, because of an inbox row. Asked twice for the same row,
    /// it changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn keep(
        &mut self,
        project: &ProjectName,
        git_ref: &GitRef,
        until: Timestamp,
        request: EventId,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO activity (project, git_ref, kept_until, kept_by) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (project, git_ref) DO UPDATE
                SET kept_until = excluded.kept_until, kept_by = excluded.kept_by
                WHERE kept_by IS NULL OR kept_by < excluded.kept_by",
            params![project.as_str(), git_ref.to_string(), until.millis(), request.get()],
        )?;
        Ok(())
    }
}

/// Nothing keeps what is gone.
pub(crate) fn forget(
    tx: &Transaction<'_>,
    project: &ProjectName,
    git_ref: &GitRef,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM activity WHERE project = ?1 AND git_ref = ?2";
    tx.execute(sql, params![project.as_str(), git_ref.to_string()])?;
    Ok(())
}

fn life(row: &Row<'_>) -> rusqlite::Result<Life> {
    Ok(Life {
        project: parsed(row, "project")?,
        git_ref: parsed(row, "git_ref")?,
        fork: row.get("fork")?,
        pushed_at: Timestamp::from_millis(row.get("created_at")?),
        used_at: moment(row, "used_at")?,
        kept_until: moment(row, "kept_until")?,
        kept_by: row.get::<_, Option<i64>>("kept_by")?.map(EventId::from_row),
        is_pinned: row.get("is_pinned")?,
        is_building: false,
    })
}
