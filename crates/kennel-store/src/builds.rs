//! The queue between dispatcher and builders.

use std::path::Path;

use kennel_core::{
    BuildEvent, BuildId, BuildState, CommitSha, EventId, GitRef, ProjectName, Timestamp,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};

use crate::StoreError;
use crate::build_row::{Build, BuildFilter, Enqueued, NewBuild, build};
use crate::column::parsed;
use crate::conditions::Conditions;
use crate::database::{Access, Schema, immediate, open};

pub(crate) const SCHEMA: Schema = &[
    "
    CREATE TABLE builds (
        id               INTEGER PRIMARY KEY AUTOINCREMENT,
        -- The inbox row that asked for it: taking that row twice makes one build.
        request_id       INTEGER NOT NULL UNIQUE,
        project          TEXT NOT NULL,
        git_ref          TEXT NOT NULL,
        sha              TEXT NOT NULL,
        by               TEXT,
        received_at      INTEGER NOT NULL,
        queued_at        INTEGER NOT NULL,
        started_at       INTEGER,
        finished_at      INTEGER,
        state            TEXT NOT NULL,
        -- How often its unit vanished without a word.
        losses           INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        superseded_by    INTEGER,
        reason           TEXT,
        -- kennel.toml of this commit: deployments are derived from it again, not from what the
        -- builder says.
        manifest         TEXT,
        -- Whether the dispatcher has made deployments of what it built.
        handed_over      INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX builds_by_state ON builds (state, id);
    CREATE INDEX builds_by_ref ON builds (project, git_ref, id);
    CREATE TABLE outputs (
        build_id    INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
        name        TEXT NOT NULL,
        kind        TEXT NOT NULL,
        state       TEXT NOT NULL,
        store_path  TEXT,
        reason      TEXT,
        started_at  INTEGER,
        finished_at INTEGER,
        PRIMARY KEY (build_id, name)
    ) STRICT;
",
    "
    CREATE INDEX builds_by_commit ON builds (sha);
    CREATE INDEX builds_by_moment ON builds (received_at);
",
    "
    -- Whether its run has left nothing but what is to be deployed.
    ALTER TABLE builds ADD COLUMN swept INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX builds_unswept ON builds (id) WHERE swept = 0;
",
    "
    -- Whether the commit comes from outside of the repository.
    ALTER TABLE builds ADD COLUMN fork INTEGER NOT NULL DEFAULT 0;
    -- Who approved it, if somebody had to.
    ALTER TABLE builds ADD COLUMN approved_by TEXT;
",
];

/// Builds to which something will happen yet ([`BuildState::is_final`]).
const NOT_FINAL: &str = "state IN ('waiting_for_approval', 'queued', 'building')";

/// builds.db, open.
#[derive(Debug)]
pub struct Builds {
    pub(crate) connection: Connection,
}

impl Builds {
    /// Opens the file, and makes or migrates it unless `access` is read-only.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Newer`].
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let connection = open(path, SCHEMA, access)?;
        // Otherwise whoever closes the file last removes -wal and -shm, and kennel-api, which cannot
        // make them, could not read a thing. Rows are moved into the file as they are committed,
        // 1,000 pages at a time, so that -wal does not grow by this.
        let keep = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        keep.map_err(|source| StoreError::Open { path: path.into(), source })?;
        Ok(Self { connection })
    }

    /// Queues a build, or lets it wait for its approval, and marks older builds of the same ref
    /// that have not begun as superseded. Asked twice for the same request, it answers the same and
    /// changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn enqueue(&mut self, new: &NewBuild, now: Timestamp) -> Result<Enqueued, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let state =
            if new.needs_approval { BuildState::WaitingForApproval } else { BuildState::Queued };
        transaction.execute(
            "INSERT INTO builds
                (request_id, project, git_ref, sha, by, received_at, queued_at, state, fork)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (request_id) DO NOTHING",
            params![
                new.request.get(),
                new.project.as_str(),
                new.git_ref.to_string(),
                new.sha.as_str(),
                new.by,
                new.received_at.millis(),
                now.millis(),
                state.as_str(),
                new.fork,
            ],
        )?;
        let (id, state) = transaction.query_row(
            "SELECT id, state FROM builds WHERE request_id = ?1",
            [new.request.get()],
            |row| Ok((BuildId::from_row(row.get(0)?), parsed(row, "state")?)),
        )?;
        // What may run does not give way to what perhaps never will.
        let older = if state == BuildState::WaitingForApproval {
            "state = 'waiting_for_approval'"
        } else {
            NOT_FINAL
        };
        let older: Vec<(i64, String)> = transaction
            .prepare(&format!(
                "SELECT id, state FROM builds WHERE project = ?1 AND git_ref = ?2
                 AND request_id < ?3 AND {older}"
            ))?
            .query_map(
                params![new.project.as_str(), new.git_ref.to_string(), new.request.get()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<Result<_, _>>()?;
        let mut enqueued = Enqueued { id, state, superseded: Vec::new(), running: Vec::new() };
        for (older, state) in older {
            let older = BuildId::from_row(older);
            if state == BuildState::Building.as_str() {
                enqueued.running.push(older);
            } else {
                mark_superseded(&transaction, older, id)?;
                step(&transaction, older, BuildEvent::Superseded, None, now)?;
                enqueued.superseded.push(older);
            }
        }
        transaction.commit()?;
        Ok(enqueued)
    }

    /// One build, if it exists.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn get(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT * FROM builds WHERE id = ?1")?;
        Ok(statement.query_row([id.get()], build).optional()?)
    }

    /// The build that an inbox row asked for, if it made one.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn of_request(&self, request: EventId) -> Result<Option<Build>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT * FROM builds WHERE request_id = ?1")?;
        Ok(statement.query_row([request.get()], build).optional()?)
    }

    /// Whether the dispatcher has made deployments of what the build built.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn is_handed_over(&self, id: BuildId) -> Result<bool, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT handed_over FROM builds WHERE id = ?1")?;
        Ok(statement.query_row([id.get()], |row| row.get(0)).optional()?.unwrap_or(false))
    }

    /// The newest builds that the filter lets through, newest first, at most `limit`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn list(&self, filter: &BuildFilter, limit: u32) -> Result<Vec<Build>, StoreError> {
        let Conditions { sql, values } = conditions(filter);
        let sql = format!("SELECT * FROM builds WHERE {sql} ORDER BY id DESC LIMIT {limit}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), build)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many builds the filter lets through.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn count(&self, filter: &BuildFilter) -> Result<u64, StoreError> {
        let Conditions { sql, values } = conditions(filter);
        let sql = format!("SELECT count(*) FROM builds WHERE {sql}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let count: i64 = statement.query_row(params_from_iter(values), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The branches and pull requests of which a project has builds.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn refs(&self, project: &ProjectName) -> Result<Vec<GitRef>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT git_ref FROM builds WHERE project = ?1 ORDER BY git_ref",
        )?;
        let rows = statement.query_map([project.as_str()], |row| parsed(row, "git_ref"))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Builds that are to run or run, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn unfinished(&self) -> Result<Vec<Build>, StoreError> {
        self.select("state IN ('queued', 'building')")
    }

    /// Builds that ended with something to deploy, or whose end nobody has looked at yet, oldest
    /// first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn to_hand_over(&self) -> Result<Vec<Build>, StoreError> {
        self.select(&format!("handed_over = 0 AND NOT {NOT_FINAL}"))
    }

    fn select(&self, condition: &str) -> Result<Vec<Build>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT * FROM builds WHERE {condition} ORDER BY id"))?;
        let rows = statement.query_map([], build)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest build of a ref, whatever its state.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn newest_of(
        &self,
        project: &ProjectName,
        git_ref: &GitRef,
    ) -> Result<Option<Build>, StoreError> {
        let filter = BuildFilter {
            project: Some(project.clone()),
            git_ref: Some(git_ref.clone()),
            ..BuildFilter::default()
        };
        Ok(self.list(&filter, 1)?.into_iter().next())
    }

    /// Says that deployments were made of what the build built.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn handed_over(&mut self, id: BuildId) -> Result<(), StoreError> {
        self.connection.execute("UPDATE builds SET handed_over = 1 WHERE id = ?1", [id.get()])?;
        Ok(())
    }

    /// The job begins: `queued → building`. A build that is `building` already is claimed again,
    /// since a unit's name lets only one program of it run: the earlier one is dead.
    ///
    /// # Errors
    /// [`StoreError::WrongTurn`] if it is final, [`StoreError::NoRow`] if it does not exist.
    pub fn claim(&mut self, id: BuildId, now: Timestamp) -> Result<Build, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        if state_of(&transaction, id)? != BuildState::Building {
            step(&transaction, id, BuildEvent::Claimed, None, now)?;
        }
        transaction.execute("UPDATE builds SET swept = 0 WHERE id = ?1", [id.get()])?;
        transaction.commit()?;
        self.get(id)?.ok_or(StoreError::NoRow { thing: "build", id: id.get() })
    }

    /// Says that the build has left nothing but what is to be deployed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn swept(&mut self, id: BuildId) -> Result<(), StoreError> {
        self.connection.execute("UPDATE builds SET swept = 1 WHERE id = ?1", [id.get()])?;
        Ok(())
    }

    /// Builds that are over and may have left something that nobody needs, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn unswept(&self) -> Result<Vec<Build>, StoreError> {
        self.select(&format!("swept = 0 AND NOT {NOT_FINAL}"))
    }

    /// Moves a build along one arrow.
    ///
    /// # Errors
    /// [`StoreError::WrongTurn`] if it has no such arrow, [`StoreError::NoRow`] if it does not
    /// exist.
    pub fn step(
        &mut self,
        id: BuildId,
        event: BuildEvent,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<BuildState, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let state = step(&transaction, id, event, reason, now)?;
        transaction.commit()?;
        Ok(state)
    }

    /// Says why a queued build does not begin; it stands there until it does.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn waits(&mut self, id: BuildId, reason: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE builds SET reason = ?2 WHERE id = ?1 AND state = 'queued'",
            params![id.get(), reason],
        )?;
        Ok(())
    }

    /// Its unit vanished without a word: it is queued again, and the loss counted.
    ///
    /// # Errors
    /// As [`Builds::step`].
    pub fn lost(&mut self, id: BuildId, now: Timestamp) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        step(&transaction, id, BuildEvent::Interrupted, None, now)?;
        transaction.execute("UPDATE builds SET losses = losses + 1 WHERE id = ?1", [id.get()])?;
        transaction.commit()?;
        Ok(())
    }

    /// Writes down that somebody wants the build to end; a queued one ends here. Returns its
    /// state, none if there is no such build.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn request_cancel(
        &mut self,
        id: BuildId,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<BuildState>, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let Some(mut state) = find_state(&transaction, id)? else { return Ok(None) };
        if !state.is_final() {
            transaction.execute(
                "UPDATE builds SET cancel_requested = 1, reason = ?2 WHERE id = ?1",
                params![id.get(), reason],
            )?;
        }
        if matches!(state, BuildState::WaitingForApproval | BuildState::Queued) {
            state = step(&transaction, id, BuildEvent::Cancelled, Some(reason), now)?;
        }
        transaction.commit()?;
        Ok(Some(state))
    }

    /// Lets a build run that waits for it, and writes down who said so. Returns it as it is
    /// then, none if there is no such build; said twice, it changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn approve(
        &mut self,
        id: BuildId,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Build>, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let Some(state) = find_state(&transaction, id)? else { return Ok(None) };
        if state == BuildState::WaitingForApproval {
            step(&transaction, id, BuildEvent::Approved, None, now)?;
            transaction.execute(
                "UPDATE builds SET approved_by = ?2 WHERE id = ?1",
                params![id.get(), by],
            )?;
        }
        transaction.commit()?;
        self.get(id)
    }

    /// Who has approved this commit of this ref before, if somebody has.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn approval_of(
        &self,
        project: &ProjectName,
        git_ref: &GitRef,
        sha: &CommitSha,
    ) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT approved_by FROM builds WHERE sha = ?1 AND project = ?2 AND git_ref = ?3
             AND approved_by IS NOT NULL ORDER BY id DESC LIMIT 1",
        )?;
        let row = params![sha.as_str(), project.as_str(), git_ref.to_string()];
        Ok(statement.query_row(row, |row| row.get(0)).optional()?)
    }

    /// Writes down that a newer build makes a running one superfluous, before its unit is stopped.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn supersede_running(&mut self, old: BuildId, new: BuildId) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        mark_superseded(&transaction, old, new)?;
        transaction.commit()?;
        Ok(())
    }
}

fn conditions(filter: &BuildFilter) -> Conditions {
    let mut it = Conditions::none();
    if let Some(project) = &filter.project {
        it.and("project = ?", [project.as_str().to_owned().into()]);
    }
    if let Some(git_ref) = &filter.git_ref {
        it.and("git_ref = ?", [git_ref.to_string().into()]);
    }
    it.and_one_of("state", filter.states.iter().map(|state| state.as_str()));
    if let Some(since) = filter.since {
        it.and("received_at >= ?", [since.millis().into()]);
    }
    if let Some(commit) = &filter.commit {
        // Not LIKE, which no index of plain text serves. After all hex digits comes `g`.
        it.and("sha >= ? AND sha < ?", [commit.clone().into(), format!("{commit}g").into()]);
    }
    if let Some(by) = &filter.by {
        it.and("by = ?", [by.clone().into()]);
    }
    it
}

fn mark_superseded(
    transaction: &Transaction<'_>,
    old: BuildId,
    new: BuildId,
) -> Result<(), StoreError> {
    transaction.execute(
        "UPDATE builds SET superseded_by = ?2 WHERE id = ?1",
        params![old.get(), new.get()],
    )?;
    Ok(())
}

fn find_state(
    transaction: &Transaction<'_>,
    id: BuildId,
) -> Result<Option<BuildState>, StoreError> {
    let mut statement = transaction.prepare_cached("SELECT state FROM builds WHERE id = ?1")?;
    Ok(statement.query_row([id.get()], |row| parsed(row, "state")).optional()?)
}

fn state_of(transaction: &Transaction<'_>, id: BuildId) -> Result<BuildState, StoreError> {
    find_state(transaction, id)?.ok_or(StoreError::NoRow { thing: "build", id: id.get() })
}

fn step(
    transaction: &Transaction<'_>,
    id: BuildId,
    event: BuildEvent,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<BuildState, StoreError> {
    let next = state_of(transaction, id)?.step(event)?;
    let now = now.millis();
    let started = (next == BuildState::Building).then_some(now);
    let finished = next.is_final().then_some(now);
    // Why it had to wait is over when it begins.
    let begins = event == BuildEvent::Claimed;
    transaction.execute(
        "UPDATE builds SET state = ?2,
             reason = CASE WHEN ?6 THEN ?3 ELSE coalesce(?3, reason) END,
             started_at = coalesce(started_at, ?4), finished_at = ?5
         WHERE id = ?1",
        params![id.get(), next.as_str(), reason, started, finished, begins],
    )?;
    Ok(next)
}

#[cfg(test)]
mod tests;
