//! What serves: deployments, and the count of published route tables.

use std::path::Path;

use kennel_core::{
    BuildId, DeploymentEvent, DeploymentId, DeploymentState, EventId, HostPattern, OutputKey,
    ProjectName, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::StoreError;
use crate::column::parsed;
use crate::database::{Access, Schema, immediate, open};
use crate::deployment_row::{Deployment, NewDeployment, SELECT, deployment};
use crate::names::{self, DomainTaken};

pub(crate) const SCHEMA: Schema = &[
    "
    CREATE TABLE deployments (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        -- The inbox row that asked for it: handing a build over twice makes one deployment.
        request_id   INTEGER NOT NULL,
        build_id     INTEGER NOT NULL,
        project      TEXT NOT NULL,
        git_ref      TEXT NOT NULL,
        service      TEXT NOT NULL,
        slug         TEXT NOT NULL,
        user         TEXT NOT NULL,
        label        TEXT NOT NULL,
        sha          TEXT NOT NULL,
        store_path   TEXT NOT NULL,
        settings     TEXT NOT NULL,
        state        TEXT NOT NULL,
        reason       TEXT,
        -- Whether the route table shall have it.
        routed       INTEGER NOT NULL DEFAULT 0,
        -- Whether a deployment that never served has left nothing on the host.
        cleaned      INTEGER NOT NULL DEFAULT 0,
        -- How often its unit vanished without a word.
        losses       INTEGER NOT NULL DEFAULT 0,
        created_at   INTEGER NOT NULL,
        started_at   INTEGER,
        active_at    INTEGER,
        drain_until  INTEGER,
        ended_at     INTEGER,
        UNIQUE (request_id, service)
    ) STRICT;
    CREATE INDEX deployments_by_service ON deployments (project, git_ref, service, id);
    CREATE INDEX deployments_by_state ON deployments (state, id);
    CREATE TABLE ports (
        port          INTEGER PRIMARY KEY,
        deployment_id INTEGER NOT NULL UNIQUE REFERENCES deployments (id)
    ) STRICT;
    CREATE TABLE names (
        kind    TEXT NOT NULL,
        scope   TEXT NOT NULL,
        name    TEXT NOT NULL,
        project TEXT NOT NULL,
        git_ref TEXT NOT NULL,
        service TEXT NOT NULL,
        PRIMARY KEY (kind, scope, name),
        UNIQUE (kind, project, git_ref, service)
    ) STRICT;
    -- Custom domains; the others follow from the names.
    CREATE TABLE hosts (
        host    TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        git_ref TEXT NOT NULL,
        service TEXT NOT NULL
    ) STRICT;
    CREATE TABLE publication (
        only       INTEGER PRIMARY KEY CHECK (only = 1),
        generation INTEGER NOT NULL
    ) STRICT;
    INSERT INTO publication (only, generation) VALUES (1, 0);
",
    "
    -- With drain_until: a clock that was set back in between is seen.
    ALTER TABLE deployments ADD COLUMN draining_since INTEGER;
",
    "
    -- Whether the commit comes from outside of the repository.
    ALTER TABLE deployments ADD COLUMN fork INTEGER NOT NULL DEFAULT 0;
",
    "
    CREATE TABLE audit (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        -- The inbox row: taking a wish twice makes one row.
        request_id INTEGER NOT NULL UNIQUE,
        at         INTEGER NOT NULL,
        by         TEXT,
        uid        INTEGER,
        action     TEXT NOT NULL,
        project    TEXT NOT NULL,
        subject    TEXT NOT NULL,
        outcome    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_project ON audit (project, id);
",
    "
    -- The earlier deployment that this one is once more.
    ALTER TABLE deployments ADD COLUMN rollback_to INTEGER;
    CREATE TABLE pins (
        project TEXT NOT NULL,
        git_ref TEXT NOT NULL,
        -- Empty for all of the branch.
        service TEXT NOT NULL,
        by      TEXT,
        at      INTEGER NOT NULL,
        PRIMARY KEY (project, git_ref, service)
    ) STRICT;
",
    "
    CREATE TABLE preview_databases (
        -- Never used again: passwords follow from it.
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        server  TEXT NOT NULL,
        -- A number, or the name of a role and its database.
        name    TEXT NOT NULL,
        project TEXT NOT NULL,
        git_ref TEXT NOT NULL,
        -- Whether the server has emptied or made it.
        ready   INTEGER NOT NULL DEFAULT 0,
        UNIQUE (server, name),
        UNIQUE (server, project, git_ref)
    ) STRICT;
",
    "
    -- Whether its release program has run.
    ALTER TABLE deployments ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
",
    "
    -- What keeps a branch beside its pushes, which have rows of their own.
    CREATE TABLE activity (
        project     TEXT NOT NULL,
        git_ref     TEXT NOT NULL,
        -- When somebody asked for something of it last, as far as it was told.
        used_at     INTEGER,
        -- Until when somebody wants it to stay, and the inbox row that said so.
        kept_until  INTEGER,
        kept_by     INTEGER,
        PRIMARY KEY (project, git_ref)
    ) STRICT;
",
    "
    -- Whether, being brought up, it makes the active one of its service give way.
    ALTER TABLE deployments ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
",
    "
    CREATE TABLE maintenance (
        project     TEXT NOT NULL,
        -- Empty for all of the project.
        git_ref     TEXT NOT NULL,
        -- Empty for all of the branch.
        service     TEXT NOT NULL,
        message     TEXT,
        -- Seconds.
        retry_after INTEGER NOT NULL,
        by          TEXT,
        at          INTEGER NOT NULL,
        PRIMARY KEY (project, git_ref, service)
    ) STRICT;
    -- Routes also change without a deployment: how often they were to, and up to which of those times
    -- the router has them.
    ALTER TABLE publication ADD COLUMN routes_wanted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE publication ADD COLUMN routes_published INTEGER NOT NULL DEFAULT 0;
",
];

/// state.db, open.
#[derive(Debug)]
pub struct State {
    pub(crate) connection: Connection,
}

impl State {
    /// Opens the file, and makes or migrates it unless `access` is read-only.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Newer`].
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        Ok(Self { connection: open(path, SCHEMA, access)? })
    }

    /// Makes a deployment and gives it its names; older pending ones of the same service are
    /// superseded. It is superseded itself if a newer commit has come further. Asked twice for the
    /// same request and service, it answers the same and changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn create(
        &mut self,
        new: &NewDeployment,
        now: Timestamp,
    ) -> Result<DeploymentId, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let known = tx
            .query_row(
                "SELECT id FROM deployments WHERE request_id = ?1 AND service = ?2",
                params![new.request.get(), new.key.service.as_str()],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(id) = known {
            return Ok(DeploymentId::from_row(id));
        }
        let names = names::assign(&tx, &new.key)?;
        let key = (new.key.project.as_str(), new.key.git_ref.to_string(), new.key.service.as_str());
        let newer: bool = tx.query_row(
            "SELECT EXISTS (SELECT 1 FROM deployments
                WHERE project = ?1 AND git_ref = ?2 AND service = ?3 AND request_id > ?4
                AND state IN ('pending', 'starting', 'active', 'draining', 'retired', 'unchanged'))",
            params![key.0, key.1, key.2, new.request.get()],
            |row| row.get(0),
        )?;
        let settings = serde_json::to_string(&new.settings)
            .map_err(|source| StoreError::Settings { deployment: 0, source })?;
        tx.execute(
            "INSERT INTO deployments (request_id, build_id, project, git_ref, service, slug, user,
                label, sha, store_path, settings, fork, rollback_to, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'pending', ?14)",
            params![
                new.request.get(),
                new.build.get(),
                key.0,
                key.1,
                key.2,
                names.slug.as_str(),
                names.user.as_str(),
                names.label,
                new.sha.as_str(),
                new.store_path.as_str(),
                settings,
                new.fork,
                new.rollback_to.map(DeploymentId::get),
                now.millis(),
            ],
        )?;
        let id = DeploymentId::from_row(tx.last_insert_rowid());
        if newer {
            let reason = "what was asked for later came further";
            step(&tx, id, DeploymentEvent::Superseded, Some(reason), now)?;
        } else {
            let older: Vec<i64> = tx
                .prepare(
                    "SELECT id FROM deployments WHERE project = ?1 AND git_ref = ?2
                     AND service = ?3 AND id != ?4 AND state = 'pending'",
                )?
                .query_map(params![key.0, key.1, key.2, id.get()], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for older in older {
                let reason = format!("deployment {id} is newer");
                let older = DeploymentId::from_row(older);
                step(&tx, older, DeploymentEvent::Superseded, Some(&reason), now)?;
            }
        }
        tx.commit()?;
        Ok(id)
    }

    /// One deployment, if it exists.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn get(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let sql = format!("{SELECT} WHERE deployments.id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row([id.get()], deployment).optional()?)
    }

    /// Deployments in any of `states`, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn in_states(&self, states: &[DeploymentState]) -> Result<Vec<Deployment>, StoreError> {
        let wanted: Vec<_> = states.iter().map(|state| format!("'{state}'")).collect();
        let sql = format!("{SELECT} WHERE state IN ({}) ORDER BY id", wanted.join(", "));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], deployment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The deployment of a service or site that serves, if one does: there is never more than one.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn active(&self, key: &OutputKey) -> Result<Option<Deployment>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE project = ?1 AND git_ref = ?2 AND service = ?3 AND state = 'active'"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = params![key.project.as_str(), key.git_ref.to_string(), key.service.as_str()];
        Ok(statement.query_row(key, deployment).optional()?)
    }

    /// A service's deployments, newest first, at most `limit`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn history(&self, key: &OutputKey, limit: u32) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE project = ?1 AND git_ref = ?2 AND service = ?3
             ORDER BY deployments.id DESC LIMIT ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(
            params![key.project.as_str(), key.git_ref.to_string(), key.service.as_str(), limit],
            deployment,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The deployments that one inbox row asked for, by name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn of_request(&self, request: EventId) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!("{SELECT} WHERE request_id = ?1 ORDER BY service");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([request.get()], deployment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest deployment of each service and site of a project (or all) that is not torn
    /// down, whatever became of it, by project, branch and name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn newest(&self, project: Option<&ProjectName>) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE (?1 IS NULL OR project = ?1) AND deployments.id IN (
                SELECT max(id) FROM deployments WHERE state != 'torn_down'
                GROUP BY project, git_ref, service)
             ORDER BY project, git_ref, service"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([project.map(ProjectName::as_str)], deployment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The job begins: `pending → starting`. One that is `starting` already is claimed again,
    /// since a unit's name lets only one program of it run: the earlier one is dead.
    ///
    /// # Errors
    /// [`StoreError::WrongTurn`] if it is in another state, [`StoreError::NoRow`] if it does not
    /// exist.
    pub fn claim(&mut self, id: DeploymentId, now: Timestamp) -> Result<Deployment, StoreError> {
        let tx = immediate(&mut self.connection)?;
        if state_of(&tx, id)? != DeploymentState::Starting {
            step(&tx, id, DeploymentEvent::Claimed, None, now)?;
        }
        tx.commit()?;
        self.existing(id)
    }

    /// Records that the domains belong to the service, unless one is another's: then none has
    /// become its own.
    ///
    /// # Errors
    /// Any [`StoreError`]; the inner error if another holds one.
    pub fn claim_domains<'a>(
        &mut self,
        domains: impl Iterator<Item = &'a HostPattern>,
        key: &OutputKey,
        is_listed: impl Fn(&HostPattern) -> bool,
    ) -> Result<Result<(), Box<DomainTaken>>, StoreError> {
        let mut domains = domains.peekable();
        if domains.peek().is_none() {
            return Ok(Ok(()));
        }
        let tx = immediate(&mut self.connection)?;
        for domain in domains {
            if let Err(taken) = names::claim_domain(&tx, domain, key, is_listed(domain))? {
                return Ok(Err(taken));
            }
        }
        tx.commit()?;
        Ok(Ok(()))
    }

    /// Moves a deployment along one arrow. Whatever no longer serves leaves the route table.
    ///
    /// # Errors
    /// [`StoreError::WrongTurn`] if it has no such arrow, [`StoreError::NoRow`] if it does not
    /// exist.
    pub fn step(
        &mut self,
        id: DeploymentId,
        event: DeploymentEvent,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<DeploymentState, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let state = step(&tx, id, event, reason, now)?;
        tx.commit()?;
        Ok(state)
    }

    /// Ends the deployments of a build that do not serve yet: `cancelled`, whether one was to begin
    /// or had begun. Returns them; what they left is theirs to remove who end deployments.
    ///
    /// # Errors
    /// Any [`StoreError`]; then none has ended.
    pub fn cancel_build(
        &mut self,
        build: BuildId,
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<DeploymentId>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let ending: Vec<_> = tx
            .prepare(
                "SELECT id FROM deployments WHERE state IN ('pending', 'starting')
                 AND build_id = ?1 ORDER BY id",
            )?
            .query_map([build.get()], |row| Ok(DeploymentId::from_row(row.get(0)?)))?
            .collect::<Result<_, _>>()?;
        for id in &ending {
            step(&tx, *id, DeploymentEvent::Cancelled, Some(reason), now)?;
        }
        tx.commit()?;
        Ok(ending)
    }

    /// Its unit vanished without a word: it is pending again, and the loss counted.
    ///
    /// # Errors
    /// As [`State::step`].
    pub fn lost(&mut self, id: DeploymentId, now: Timestamp) -> Result<(), StoreError> {
        let tx = immediate(&mut self.connection)?;
        step(&tx, id, DeploymentEvent::Interrupted, None, now)?;
        tx.execute("UPDATE deployments SET losses = losses + 1 WHERE id = ?1", [id.get()])?;
        tx.commit()?;
        Ok(())
    }

    /// Says why a pending deployment has not begun; it stands there until it does.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn waits(&mut self, id: DeploymentId, reason: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE deployments SET reason = ?2 WHERE id = ?1 AND state = 'pending'",
            params![id.get(), reason],
        )?;
        Ok(())
    }

    /// Its release program has run, and shall not run again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn released(&mut self, id: DeploymentId) -> Result<(), StoreError> {
        self.connection.execute("UPDATE deployments SET released = 1 WHERE id = ?1", [id.get()])?;
        Ok(())
    }

    /// Whether the route table shall have it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn set_routed(&mut self, id: DeploymentId, routed: bool) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE deployments SET routed = ?2 WHERE id = ?1",
            params![id.get(), routed],
        )?;
        Ok(())
    }

    /// The active one of its service gives way to it from now on, and visitors wait. Over with its
    /// being brought up, however that ends.
    ///
    /// # Errors
    /// [`StoreError::WrongTurn`] if it is not being brought up any more, [`StoreError::NoRow`] if it
    /// does not exist.
    pub fn hold(&mut self, id: DeploymentId) -> Result<(), StoreError> {
        let tx = immediate(&mut self.connection)?;
        state_of(&tx, id)?.step(DeploymentEvent::Activated)?;
        tx.execute("UPDATE deployments SET holds = 1 WHERE id = ?1", [id.get()])?;
        Ok(tx.commit()?)
    }

    /// What it and older ones of its service have made give way serves again, or nobody wants it any
    /// more.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn release(&mut self, id: DeploymentId) -> Result<(), StoreError> {
        release(&self.connection, id)
    }

    /// The deployments that make others give way, oldest first: those that are being brought up, and
    /// those that have failed, until what gave way serves again.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn holders(&self) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!("{SELECT} WHERE holds = 1 ORDER BY deployments.id");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], deployment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The next publication's number, and the deployments that it has: the newest of each service
    /// that shall be routed.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn publication(&mut self) -> Result<(u64, Vec<Deployment>), StoreError> {
        let tx = immediate(&mut self.connection)?;
        let generation = tx.query_row(
            "UPDATE publication SET generation = generation + 1 RETURNING generation",
            [],
            |row| row.get::<_, i64>(0),
        )?;
        let sql = format!(
            "{SELECT} WHERE deployments.id IN (
                SELECT max(id) FROM deployments
                WHERE routed = 1 AND state IN ('starting', 'active')
                GROUP BY project, git_ref, service)
             ORDER BY deployments.id"
        );
        let routed = tx.prepare(&sql)?.query_map([], deployment)?.collect::<Result<Vec<_>, _>>()?;
        tx.commit()?;
        Ok((u64::try_from(generation).unwrap_or(0), routed))
    }

    /// It serves: `starting → active`, and older active ones of its service are draining until
    /// `drain_until`. Returns those. Domains that the service no longer asks for are free.
    ///
    /// # Errors
    /// As [`State::step`].
    pub fn activate(
        &mut self,
        id: DeploymentId,
        drain_until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Deployment>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        step(&tx, id, DeploymentEvent::Activated, None, now)?;
        release(&tx, id)?;
        let older: Vec<i64> = tx
            .prepare(
                "SELECT old.id FROM deployments AS old JOIN deployments AS new
                 USING (project, git_ref, service)
                 WHERE new.id = ?1 AND old.id != ?1 AND old.state = 'active'",
            )?
            .query_map([id.get()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for old in &older {
            step(&tx, DeploymentId::from_row(*old), DeploymentEvent::Replaced, None, now)?;
            tx.execute(
                "UPDATE deployments SET drain_until = ?2, draining_since = ?3 WHERE id = ?1",
                params![old, drain_until.millis(), now.millis()],
            )?;
        }
        tx.execute(
            "DELETE FROM hosts WHERE (project, git_ref, service) =
                (SELECT project, git_ref, service FROM deployments WHERE id = ?1)
             AND host NOT IN (
                SELECT value FROM deployments, json_each(json_insert(
                    coalesce(json_extract(settings, '$.redirect_from'), '[]'),
                    '$[#]', json_extract(settings, '$.custom_domain')))
                WHERE deployments.id = ?1 AND value IS NOT NULL)",
            [id.get()],
        )?;
        tx.commit()?;
        older.into_iter().map(|old| self.existing(DeploymentId::from_row(old))).collect()
    }

    /// What it would serve is served already, by `serving`, which is of its commit and its build
    /// from now on: `starting → unchanged`. Says whether it is so; nothing changes if that one
    /// serves no longer.
    ///
    /// # Errors
    /// As [`State::step`].
    pub fn unchanged(
        &mut self,
        id: DeploymentId,
        serving: DeploymentId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = immediate(&mut self.connection)?;
        if state_of(&tx, serving)? != DeploymentState::Active {
            return Ok(false);
        }
        let reason = format!("deployment {serving} serves the same");
        step(&tx, id, DeploymentEvent::Unchanged, Some(&reason), now)?;
        tx.execute(
            "UPDATE deployments SET (sha, build_id) =
                (SELECT sha, build_id FROM deployments WHERE id = ?1) WHERE id = ?2",
            params![id.get(), serving.get()],
        )?;
        tx.commit()?;
        Ok(true)
    }

    pub(crate) fn existing(&self, id: DeploymentId) -> Result<Deployment, StoreError> {
        self.get(id)?.ok_or(StoreError::NoRow { thing: "deployment", id: id.get() })
    }
}

fn release(connection: &Connection, id: DeploymentId) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE deployments SET holds = 0 WHERE holds = 1 AND id <= ?1
         AND (project, git_ref, service) =
            (SELECT project, git_ref, service FROM deployments WHERE id = ?1)",
        [id.get()],
    )?;
    Ok(())
}

pub(crate) fn state_of(
    tx: &Transaction<'_>,
    id: DeploymentId,
) -> Result<DeploymentState, StoreError> {
    tx.query_row("SELECT state FROM deployments WHERE id = ?1", [id.get()], |row| {
        parsed(row, "state")
    })
    .optional()?
    .ok_or(StoreError::NoRow { thing: "deployment", id: id.get() })
}

pub(crate) fn step(
    tx: &Transaction<'_>,
    id: DeploymentId,
    event: DeploymentEvent,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<DeploymentState, StoreError> {
    let next = state_of(tx, id)?.step(event)?;
    let now = now.millis();
    let serves = matches!(next, DeploymentState::Starting | DeploymentState::Active);
    // Why it had to wait, or was interrupted, is over when it begins.
    let begins = event == DeploymentEvent::Claimed;
    tx.execute(
        "UPDATE deployments SET state = ?2,
             reason = CASE WHEN ?8 THEN ?3 ELSE coalesce(?3, reason) END,
             routed = CASE WHEN ?4 THEN routed ELSE 0 END,
             holds = CASE WHEN ?9 THEN holds ELSE 0 END,
             started_at = coalesce(started_at, ?5), active_at = coalesce(active_at, ?6),
             ended_at = coalesce(ended_at, ?7)
         WHERE id = ?1",
        params![
            id.get(),
            next.as_str(),
            reason,
            serves,
            (next == DeploymentState::Starting).then_some(now),
            (next == DeploymentState::Active).then_some(now),
            (!next.is_live()).then_some(now),
            begins,
            // Its visitors wait until somebody serves again.
            !next.is_live(),
        ],
    )?;
    Ok(next)
}
