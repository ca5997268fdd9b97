//! What came of each output of a build.

use kennel_core::{BuildId, OutputKind, OutputState, ServiceName, StorePath, Timestamp};
use rusqlite::params;

use crate::StoreError;
use crate::build_row::{BuildOutput, output};
use crate::builds::Builds;
use crate::database::immediate;

impl Builds {
    /// Records what the commit wants built. Outputs that a run before an interruption finished
    /// stay as they are; others begin again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn plan(
        &mut self,
        id: BuildId,
        manifest: &str,
        outputs: &[(ServiceName, OutputKind)],
    ) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        transaction.execute(
            "UPDATE builds SET manifest = ?2 WHERE id = ?1",
            params![id.get(), manifest],
        )?;
        for (name, kind) in outputs {
            transaction.execute(
                "INSERT INTO outputs (build_id, name, kind, state) VALUES (?1, ?2, ?3, 'pending')
                 ON CONFLICT (build_id, name) DO UPDATE SET state = 'pending', reason = NULL
                 WHERE state NOT IN ('built', 'unchanged')",
                params![id.get(), name.as_str(), kind.as_str()],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Nix begins with an output.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn output_started(
        &mut self,
        id: BuildId,
        name: &ServiceName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE outputs SET state = 'building', started_at = ?3, finished_at = NULL
             WHERE build_id = ?1 AND name = ?2",
            params![id.get(), name.as_str(), now.millis()],
        )?;
        Ok(())
    }

    /// An output has a store path. It is `unchanged` if one of the last five builds of this output
    /// on this ref that got one had the same.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn output_built(
        &mut self,
        id: BuildId,
        name: &ServiceName,
        path: &StorePath,
        now: Timestamp,
    ) -> Result<OutputState, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let known: bool = transaction.query_row(
            "SELECT ?3 IN (
                SELECT store_path FROM outputs JOIN builds ON builds.id = build_id
                WHERE name = ?2 AND build_id < ?1 AND store_path IS NOT NULL
                AND (project, git_ref) = (SELECT project, git_ref FROM builds WHERE id = ?1)
                ORDER BY build_id DESC LIMIT 5)",
            params![id.get(), name.as_str(), path.as_str()],
            |row| row.get(0),
        )?;
        let state = if known { OutputState::Unchanged } else { OutputState::Built };
        transaction.execute(
            "UPDATE outputs SET state = ?3, store_path = ?4, reason = NULL, finished_at = ?5
             WHERE build_id = ?1 AND name = ?2",
            params![id.get(), name.as_str(), state.as_str(), path.as_str(), now.millis()],
        )?;
        transaction.commit()?;
        Ok(state)
    }

    /// An output failed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn output_failed(
        &mut self,
        id: BuildId,
        name: &ServiceName,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE outputs SET state = 'failed', reason = ?3, finished_at = ?4
             WHERE build_id = ?1 AND name = ?2",
            params![id.get(), name.as_str(), reason, now.millis()],
        )?;
        Ok(())
    }

    /// A build's outputs, by name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn outputs(&self, id: BuildId) -> Result<Vec<BuildOutput>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM outputs WHERE build_id = ?1 ORDER BY name")?;
        let rows = statement.query_map([id.get()], output)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
