//! The queue between dispatcher and builders: builds, and what came of each of their outputs.

use std::path::Path;

use kennel_core::{
    BuildEvent, BuildId, BuildState, CommitSha, EventId, GitRef, OutputKind, OutputState,
    ProjectName, ServiceName, StorePath, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::StoreError;
use crate::column::{parsed, parsed_or_null};
use crate::database::{Access, Schema, immediate, open};

const SCHEMA: Schema = &["
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
"];

/// builds.db, open.
#[derive(Debug)]
pub struct Builds {
    connection: Connection,
}

/// A build that is to be queued.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// The inbox row that asks for it.
    pub request: EventId,
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// The commit.
    pub sha: CommitSha,
    /// Who caused it, for display.
    pub by: Option<String>,
    /// When the forge told of it.
    pub received_at: Timestamp,
}

/// What queueing a build did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The build.
    pub id: BuildId,
    /// Queued builds of the same ref that it made superfluous.
    pub superseded: Vec<BuildId>,
    /// Older builds of the same ref that run now.
    pub running: Vec<BuildId>,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The row, and the unit's instance.
    pub id: BuildId,
    /// The inbox row that asked for it. Later rows are newer pushes.
    pub request: EventId,
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// The commit.
    pub sha: CommitSha,
    /// Who caused it, for display.
    pub by: Option<String>,
    /// When the forge told of it.
    pub received_at: Timestamp,
    /// When the dispatcher queued it.
    pub queued_at: Timestamp,
    /// When its unit first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Where it is.
    pub state: BuildState,
    /// How often its unit vanished without a word.
    pub losses: u32,
    /// Whether somebody wants it to end.
    pub cancel_requested: bool,
    /// The newer build that makes it superfluous.
    pub superseded_by: Option<BuildId>,
    /// Why it is where it is, in words.
    pub reason: Option<String>,
    /// `kennel.toml` of the commit, once it was read.
    pub manifest: Option<String>,
}

/// One output of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// Its name in `kennel.toml`.
    pub name: ServiceName,
    /// Service or site.
    pub kind: OutputKind,
    /// How far it is.
    pub state: OutputState,
    /// What Nix made.
    pub store_path: Option<StorePath>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When Nix began.
    pub started_at: Option<Timestamp>,
    /// When Nix ended.
    pub finished_at: Option<Timestamp>,
}

/// Which builds to list.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Only this project's.
    pub project: Option<ProjectName>,
    /// Only of this branch or pull request.
    pub git_ref: Option<GitRef>,
    /// Only those that are not final.
    pub unfinished: bool,
}

impl Builds {
    /// Opens the file, and makes or migrates it unless `access` is read-only.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Newer`].
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        Ok(Self { connection: open(path, SCHEMA, access)? })
    }

    /// Queues a build, and marks older queued builds of the same ref as superseded. Asked twice
    /// for the same request, it answers the same and changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn enqueue(&mut self, new: &NewBuild, now: Timestamp) -> Result<Enqueued, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        transaction.execute(
            "INSERT INTO builds
                (request_id, project, git_ref, sha, by, received_at, queued_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued') ON CONFLICT (request_id) DO NOTHING",
            params![
                new.request.get(),
                new.project.as_str(),
                new.git_ref.to_string(),
                new.sha.as_str(),
                new.by,
                new.received_at.millis(),
                now.millis(),
            ],
        )?;
        let id = transaction.query_row(
            "SELECT id FROM builds WHERE request_id = ?1",
            [new.request.get()],
            |row| row.get(0),
        )?;
        let id = BuildId::from_row(id);
        let older: Vec<(i64, String)> = transaction
            .prepare(
                "SELECT id, state FROM builds WHERE project = ?1 AND git_ref = ?2
                 AND request_id < ?3 AND state IN ('queued', 'building')",
            )?
            .query_map(
                params![new.project.as_str(), new.git_ref.to_string(), new.request.get()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<Result<_, _>>()?;
        let mut enqueued = Enqueued { id, superseded: Vec::new(), running: Vec::new() };
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

    /// The newest builds that the filter lets through, newest first, at most `limit`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn list(&self, filter: &BuildFilter, limit: u32) -> Result<Vec<Build>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM builds
             WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR git_ref = ?2)
             AND (NOT ?3 OR state IN ('queued', 'building'))
             ORDER BY id DESC LIMIT ?4",
        )?;
        let rows = statement.query_map(
            params![
                filter.project.as_ref().map(ProjectName::as_str),
                filter.git_ref.as_ref().map(ToString::to_string),
                filter.unfinished,
                limit,
            ],
            build,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Builds that are not final, oldest first.
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
        self.select("state NOT IN ('queued', 'building') AND handed_over = 0")
    }

    fn select(&self, condition: &'static str) -> Result<Vec<Build>, StoreError> {
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
            unfinished: false,
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
        transaction.commit()?;
        self.get(id)?.ok_or(StoreError::NoRow { thing: "build", id: id.get() })
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
        let mut state = match state_of(&transaction, id) {
            Ok(state) => state,
            Err(StoreError::NoRow { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !state.is_final() {
            transaction.execute(
                "UPDATE builds SET cancel_requested = 1, reason = ?2 WHERE id = ?1",
                params![id.get(), reason],
            )?;
        }
        if state == BuildState::Queued {
            state = step(&transaction, id, BuildEvent::Cancelled, Some(reason), now)?;
        }
        transaction.commit()?;
        Ok(Some(state))
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

fn state_of(transaction: &Transaction<'_>, id: BuildId) -> Result<BuildState, StoreError> {
    transaction
        .query_row("SELECT state FROM builds WHERE id = ?1", [id.get()], |row| parsed(row, "state"))
        .optional()?
        .ok_or(StoreError::NoRow { thing: "build", id: id.get() })
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
    transaction.execute(
        "UPDATE builds SET state = ?2, reason = coalesce(?3, reason),
             started_at = coalesce(started_at, ?4), finished_at = ?5
         WHERE id = ?1",
        params![id.get(), next.as_str(), reason, started, finished],
    )?;
    Ok(next)
}

fn build(row: &Row<'_>) -> rusqlite::Result<Build> {
    let moment = |name| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(name)?.map(Timestamp::from_millis))
    };
    Ok(Build {
        id: BuildId::from_row(row.get("id")?),
        request: EventId::from_row(row.get("request_id")?),
        project: parsed(row, "project")?,
        git_ref: parsed(row, "git_ref")?,
        sha: parsed(row, "sha")?,
        by: row.get("by")?,
        received_at: Timestamp::from_millis(row.get("received_at")?),
        queued_at: Timestamp::from_millis(row.get("queued_at")?),
        started_at: moment("started_at")?,
        finished_at: moment("finished_at")?,
        state: parsed(row, "state")?,
        losses: row.get("losses")?,
        cancel_requested: row.get("cancel_requested")?,
        superseded_by: row.get::<_, Option<i64>>("superseded_by")?.map(BuildId::from_row),
        reason: row.get("reason")?,
        manifest: row.get("manifest")?,
    })
}

fn output(row: &Row<'_>) -> rusqlite::Result<BuildOutput> {
    let moment = |name| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(name)?.map(Timestamp::from_millis))
    };
    Ok(BuildOutput {
        name: parsed(row, "name")?,
        kind: parsed(row, "kind")?,
        state: parsed(row, "state")?,
        store_path: parsed_or_null(row, "store_path")?,
        reason: row.get("reason")?,
        started_at: moment("started_at")?,
        finished_at: moment("finished_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: fn(i64) -> Timestamp = Timestamp::from_millis;

    fn builds() -> (tempfile::TempDir, Builds) {
        let dir = tempfile::tempdir().unwrap();
        let builds = Builds::open(&dir.path().join("builds.db"), Access::Patient).unwrap();
        (dir, builds)
    }

    fn new(request: i64, git_ref: &str) -> NewBuild {
        NewBuild {
            request: EventId::from_row(request),
            project: "site".parse().unwrap(),
            git_ref: git_ref.parse().unwrap(),
            sha: "a".repeat(40).parse().unwrap(),
            by: None,
            received_at: NOW(request),
        }
    }

    #[test]
    fn a_request_becomes_one_build_however_often_it_is_taken() {
        let (_dir, mut builds) = builds();
        let first = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap();
        let again = builds.enqueue(&new(1, "refs/heads/main"), NOW(2)).unwrap();
        assert_eq!(first, again);
    }

    #[test]
    fn a_newer_commit_supersedes_what_waits_on_its_ref_only() {
        let (_dir, mut builds) = builds();
        let running = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
        builds.claim(running, NOW(1)).unwrap();
        let waiting = builds.enqueue(&new(2, "refs/heads/main"), NOW(2)).unwrap().id;
        let other = builds.enqueue(&new(3, "refs/heads/dev"), NOW(3)).unwrap().id;
        let newest = builds.enqueue(&new(4, "refs/heads/main"), NOW(4)).unwrap();
        assert_eq!((newest.superseded, newest.running), (vec![waiting], vec![running]));
        let old = builds.get(waiting).unwrap().unwrap();
        assert_eq!((old.state, old.superseded_by), (BuildState::Superseded, Some(newest.id)));
        assert_eq!(builds.get(other).unwrap().unwrap().state, BuildState::Queued);
        // Taken again after a crash, an older request supersedes nothing that is newer.
        let late = builds.enqueue(&new(2, "refs/heads/main"), NOW(5)).unwrap();
        assert!(late.superseded.is_empty());
    }

    #[test]
    fn interrupted_is_queued_again_and_keeps_its_first_start() {
        let (_dir, mut builds) = builds();
        let id = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
        builds.claim(id, NOW(10)).unwrap();
        builds.step(id, BuildEvent::Interrupted, None, NOW(20)).unwrap();
        let again = builds.claim(id, NOW(30)).unwrap();
        assert_eq!((again.started_at, again.losses), (Some(NOW(10)), 0));
        builds.lost(id, NOW(40)).unwrap();
        assert_eq!(builds.get(id).unwrap().unwrap().losses, 1);
    }

    #[test]
    fn cancelling_ends_a_queued_build_and_marks_a_running_one() {
        let (_dir, mut builds) = builds();
        let queued = builds.enqueue(&new(1, "refs/heads/a"), NOW(1)).unwrap().id;
        let running = builds.enqueue(&new(2, "refs/heads/b"), NOW(1)).unwrap().id;
        builds.claim(running, NOW(1)).unwrap();
        let cancel = |builds: &mut Builds, id| builds.request_cancel(id, "by ada", NOW(2)).unwrap();
        assert_eq!(cancel(&mut builds, queued), Some(BuildState::Cancelled));
        assert_eq!(cancel(&mut builds, running), Some(BuildState::Building));
        assert!(builds.get(running).unwrap().unwrap().cancel_requested);
        assert_eq!(cancel(&mut builds, BuildId::from_row(9)), None);
        assert!(matches!(builds.claim(queued, NOW(3)), Err(StoreError::WrongTurn(_))));
    }

    #[test]
    fn outputs_keep_what_an_interrupted_run_finished() {
        let (_dir, mut builds) = builds();
        let id = builds.enqueue(&new(1, "refs/heads/main"), NOW(1)).unwrap().id;
        let api: ServiceName = "api".parse().unwrap();
        let web: ServiceName = "web".parse().unwrap();
        let plan = [(api.clone(), OutputKind::Service), (web.clone(), OutputKind::Site)];
        let path: StorePath = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api".parse().unwrap();
        builds.plan(id, "text", &plan).unwrap();
        assert_eq!(builds.output_built(id, &api, &path, NOW(2)).unwrap(), OutputState::Built);
        builds.output_failed(id, &web, "no", NOW(2)).unwrap();
        builds.plan(id, "text", &plan).unwrap();
        let states: Vec<_> = builds.outputs(id).unwrap().into_iter().map(|o| o.state).collect();
        assert_eq!(states, [OutputState::Built, OutputState::Pending]);

        let next = builds.enqueue(&new(2, "refs/heads/main"), NOW(3)).unwrap().id;
        builds.plan(next, "text", &plan).unwrap();
        assert_eq!(builds.output_built(next, &api, &path, NOW(4)).unwrap(), OutputState::Unchanged);
    }
}
