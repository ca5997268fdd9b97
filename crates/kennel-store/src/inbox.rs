//! The inbox: the one database that the internet-facing receiver can write.
//!
//! Rows are facts that forges reported and wishes of people, never decisions. What became of a row
//! is written beside it when the dispatcher has taken it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kennel_core::config::Period;
use kennel_core::{
    Branch, BuildId, CommitSha, Delivery, DeploymentId, Event, EventId, GitRef, Notice, NoticeText,
    ProjectName, PullRequestHead, ServiceName, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::StoreError;
use crate::column::{parsed, parsed_or_null};
use crate::database::{Access, Schema, immediate, open};

pub(crate) const SCHEMA: Schema = &[
    "
    CREATE TABLE events (
        id              INTEGER PRIMARY KEY AUTOINCREMENT,
        received_at     INTEGER NOT NULL,
        project         TEXT NOT NULL,
        forge           TEXT,
        delivery_id     TEXT,
        by              TEXT,
        kind            TEXT NOT NULL,
        git_ref         TEXT,
        sha             TEXT,
        head_repository TEXT,
        base_repository TEXT,
        association     TEXT,
        service         TEXT,
        build_id        INTEGER,
        consumed_at     INTEGER,
        outcome         TEXT
    ) STRICT;
    CREATE UNIQUE INDEX events_delivery ON events (project, delivery_id)
        WHERE delivery_id IS NOT NULL;
    CREATE INDEX events_waiting ON events (project, git_ref) WHERE consumed_at IS NULL;
",
    "
    -- Whether a ref ended after a build was asked for.
    CREATE INDEX events_ending ON events (project, git_ref, id)
        WHERE kind IN ('branch_deleted', 'pull_request_closed', 'tear_down');
",
    "
    -- For the audit: whose login it is, and which secret was set or removed.
    ALTER TABLE events ADD COLUMN uid INTEGER;
    ALTER TABLE events ADD COLUMN secret TEXT;
    ALTER TABLE events ADD COLUMN scope TEXT;
",
    "
    -- What was told of branches.
    CREATE INDEX events_told ON events (project, git_ref, id)
        WHERE kind IN ('push', 'branch_deleted');
",
    "
    -- The deployment to roll back to.
    ALTER TABLE events ADD COLUMN deployment_id INTEGER;
",
    "
    -- For how much longer a branch is to stay.
    ALTER TABLE events ADD COLUMN seconds INTEGER;
",
    "
    -- What forges said of each ref last.
    CREATE INDEX events_facts ON events (project, git_ref, id)
        WHERE kind IN ('push', 'pull_request', 'branch_deleted', 'pull_request_closed');
",
    "
    -- For the audit: which token was made or taken back.
    ALTER TABLE events ADD COLUMN token TEXT;
",
    "
    -- What visitors of something under maintenance are told.
    ALTER TABLE events ADD COLUMN message TEXT;
",
];

/// The inbox, open.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) connection: Connection,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is a row now.
    New(EventId),
    /// It says nothing that this row does not say already.
    Duplicate(EventId),
}

/// What the inbox was told of a project's branches, up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The newest row of all there was: who looks at a forge after this knows no less than it.
    pub until: EventId,
    /// Of each branch, newest first: the heads that were told, none for its end.
    pub branches: BTreeMap<Branch, Vec<Option<CommitSha>>>,
}

/// A row that nobody has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The row.
    pub id: EventId,
    /// What it says.
    pub delivery: Delivery,
}

impl Inbox {
    /// Opens the file, and makes or migrates it unless `access` is read-only.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::Newer`].
    pub fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        Ok(Self { connection: open(path, SCHEMA, access)? })
    }

    /// Appends all deliveries in one transaction: when this returns, they are on disk, for the
    /// price of one fsync. The answer has one entry per delivery, in order.
    ///
    /// A delivery adds nothing if its id is known, or if the newest waiting row of its ref says
    /// the same. Only the newest counts: after pushes of A, B and A again, A is what must serve.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing was appended.
    pub fn append(&mut self, deliveries: &[Delivery]) -> Result<Vec<Appended>, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let mut appended = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            appended.push(append(&transaction, delivery)?);
        }
        transaction.commit()?;
        Ok(appended)
    }

    /// The rows that nobody has taken, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn waiting(&self, limit: u32) -> Result<Vec<InboxEntry>, StoreError> {
        self.waiting_after(None, limit)
    }

    /// As [`Inbox::waiting`], beginning behind a row: for who leaves some of them waiting.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn waiting_after(
        &self,
        after: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM events WHERE consumed_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let after = after.map_or(0, EventId::get);
        let rows = statement.query_map(params![after, limit], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was told of the project's branches, by forges or by whoever looked.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn told(&self, project: &ProjectName) -> Result<Told, StoreError> {
        // First, so that a row which comes in between is newer than it, and seen to be.
        let until =
            self.connection
                .query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(
            "SELECT git_ref, sha FROM events
             WHERE kind IN ('push', 'branch_deleted') AND project = ?1 AND id <= ?2
             ORDER BY git_ref, id DESC",
        )?;
        let mut rows = statement.query(params![project.as_str(), until])?;
        let mut branches: BTreeMap<_, Vec<_>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            if let Some(GitRef::Branch(branch)) = parsed_or_null(row, "git_ref")? {
                branches.entry(branch).or_default().push(parsed_or_null(row, "sha")?);
            }
        }
        Ok(Told { until: EventId::from_row(until), branches })
    }

    /// Appends what a look at a forge has found, but for branches of which something was told
    /// since the look began: nobody knows which of the two is older. Says which of them, by their
    /// place in `found`, are rows now.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing was appended.
    pub fn append_found(
        &mut self,
        found: &[Delivery],
        since: EventId,
    ) -> Result<Vec<usize>, StoreError> {
        let transaction = immediate(&mut self.connection)?;
        let mut appended = Vec::new();
        for (place, delivery) in found.iter().enumerate() {
            if told_since(&transaction, delivery, since)? {
                continue;
            }
            if let Appended::New(_) = append(&transaction, delivery)? {
                appended.push(place);
            }
        }
        transaction.commit()?;
        Ok(appended)
    }

    /// Records what became of a row. Doing so twice changes nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn consume(
        &mut self,
        id: EventId,
        outcome: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        consume(&self.connection, id, outcome, now)
    }

    /// Records what became of several rows, for the price of one fsync.
    ///
    /// # Errors
    /// Any [`StoreError`]; then none was recorded.
    pub fn consume_all(
        &mut self,
        outcomes: &[(EventId, String)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let transaction = immediate(&mut self.connection)?;
        for (id, outcome) in outcomes {
            consume(&transaction, *id, outcome, now)?;
        }
        Ok(transaction.commit()?)
    }

    /// What became of a row; none while it waits.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn outcome(&self, id: EventId) -> Result<Option<String>, StoreError> {
        let outcome = self
            .connection
            .query_row("SELECT outcome FROM events WHERE id = ?1", [id.get()], |row| row.get(0))
            .optional()?;
        Ok(outcome.flatten())
    }

    /// The newest row after `after` that ended this ref, or this service of it: its branch was
    /// deleted, its pull request closed, or somebody tore it down.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn end_since(
        &self,
        project: &ProjectName,
        git_ref: &GitRef,
        service: Option<&ServiceName>,
        after: EventId,
    ) -> Result<Option<InboxEntry>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT * FROM events
             WHERE kind IN ('branch_deleted', 'pull_request_closed', 'tear_down')
             AND project = ?1 AND git_ref = ?2 AND id > ?3 AND (service IS NULL OR service = ?4)
             ORDER BY id DESC LIMIT 1",
        )?;
        let service = service.map(ServiceName::as_str);
        let row = params![project.as_str(), git_ref.to_string(), after.get(), service];
        Ok(statement.query_row(row, entry).optional()?)
    }
}

fn consume(
    connection: &Connection,
    id: EventId,
    outcome: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE events SET consumed_at = ?2, outcome = ?3 WHERE id = ?1 AND consumed_at IS NULL",
        )?
        .execute(params![id.get(), now.millis(), outcome])?;
    Ok(())
}

/// What some events have beside their ref, in the columns that it goes to.
#[derive(Default)]
struct Details<'a> {
    sha: Option<&'a CommitSha>,
    head: Option<&'a PullRequestHead>,
    service: Option<&'a ServiceName>,
    build: Option<i64>,
    secret: Option<&'a str>,
    scope: Option<&'a str>,
    deployment: Option<i64>,
    seconds: Option<i64>,
    token: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> Details<'a> {
    fn of(event: &'a Event) -> Self {
        let none = Self::default();
        match event {
            Event::Push { sha, .. } => Self { sha: Some(sha), ..none },
            Event::PullRequest { sha, head, .. } => {
                Self { sha: Some(sha), head: Some(head), ..none }
            }
            Event::TearDown { service, .. }
            | Event::Redeploy { service, .. }
            | Event::Pin { service, .. }
            | Event::Unpin { service, .. }
            | Event::MaintenanceOff { service, .. } => Self { service: service.as_ref(), ..none },
            Event::MaintenanceOn { service, notice, .. } => Self {
                service: service.as_ref(),
                message: notice.message.as_ref().map(NoticeText::as_str),
                seconds: Some(notice.retry_after_secs.into()),
                ..none
            },
            Event::RollBack { service, to, .. } => {
                let deployment = to.map(DeploymentId::get);
                Self { service: Some(service), deployment, ..none }
            }
            Event::Approve { build } | Event::Cancel { build } => {
                Self { build: Some(build.get()), ..none }
            }
            Event::Extend { by, .. } => {
                let seconds = i64::try_from(by.0.as_secs()).unwrap_or(i64::MAX);
                Self { seconds: Some(seconds), ..none }
            }
            Event::SecretSet { name, scope } | Event::SecretRemoved { name, scope } => {
                Self { secret: Some(name.as_str()), scope: Some(scope.as_str()), ..none }
            }
            Event::TokenCreated { name } | Event::TokenRevoked { name } => {
                Self { token: Some(name.as_str()), ..none }
            }
            Event::BranchDeleted { .. }
            | Event::PullRequestClosed { .. }
            | Event::Rebuild { .. }
            | Event::Expired { .. } => none,
        }
    }
}

fn append(transaction: &Transaction<'_>, delivery: &Delivery) -> Result<Appended, StoreError> {
    if let Some(known) = known_delivery(transaction, delivery)? {
        return Ok(Appended::Duplicate(known));
    }
    let event = &delivery.event;
    let git_ref = event.git_ref().map(|git_ref| git_ref.to_string());
    let Details { sha, head, service, build, secret, scope, deployment, seconds, token, message } =
        Details::of(event);
    let sha = sha.map(ToString::to_string);
    if let Some(same) = same_as_newest_waiting(transaction, delivery, &git_ref, &sha)? {
        return Ok(Appended::Duplicate(same));
    }
    transaction
        .prepare_cached(
            "INSERT INTO events (received_at, project, forge, delivery_id, by, kind, git_ref, sha,
                head_repository, base_repository, association, service, build_id, uid, secret,
                scope, deployment_id, seconds, token, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                ?18, ?19, ?20)",
        )?
        .execute(params![
            delivery.received_at.millis(),
            delivery.project.as_str(),
            delivery.forge.map(kennel_core::Forge::as_str),
            delivery.delivery_id.as_ref().map(kennel_core::DeliveryId::as_str),
            delivery.by,
            event.kind(),
            git_ref,
            sha,
            head.and_then(|head| head.repository.as_deref()),
            head.map(|head| head.base_repository.as_str()),
            head.and_then(|head| head.association.as_deref()),
            service.map(ServiceName::as_str),
            build,
            delivery.uid,
            secret,
            scope,
            deployment,
            seconds,
            token,
            message,
        ])?;
    Ok(Appended::New(EventId::from_row(transaction.last_insert_rowid())))
}

fn told_since(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
    since: EventId,
) -> Result<bool, StoreError> {
    let git_ref = delivery.event.git_ref().map(|git_ref| git_ref.to_string());
    let any = transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM events
             WHERE kind IN ('push', 'branch_deleted')
             AND project = ?1 AND git_ref = ?2 AND id > ?3)",
        )?
        .query_row(params![delivery.project.as_str(), git_ref, since.get()], |row| row.get(0))?;
    Ok(any)
}

fn known_delivery(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
) -> Result<Option<EventId>, StoreError> {
    let Some(id) = &delivery.delivery_id else { return Ok(None) };
    let row = transaction
        .prepare_cached("SELECT id FROM events WHERE project = ?1 AND delivery_id = ?2")?
        .query_row([delivery.project.as_str(), id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(row.map(EventId::from_row))
}

fn same_as_newest_waiting(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
    git_ref: &Option<String>,
    sha: &Option<String>,
) -> Result<Option<EventId>, StoreError> {
    // People's wishes are never folded together: each wants an answer of its own.
    let is_wish = delivery.forge.is_none() && !matches!(delivery.event, Event::Expired { .. });
    if is_wish || git_ref.is_none() {
        return Ok(None);
    }
    let newest = transaction
        .prepare_cached(
            "SELECT id, kind, sha FROM events
             WHERE project = ?1 AND git_ref = ?2 AND consumed_at IS NULL
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![delivery.project.as_str(), git_ref], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    Ok(newest
        .filter(|(_, kind, newest_sha)| kind == delivery.event.kind() && newest_sha == sha)
        .map(|(id, _, _)| EventId::from_row(id)))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<InboxEntry> {
    Ok(InboxEntry {
        id: EventId::from_row(row.get("id")?),
        delivery: Delivery {
            project: parsed(row, "project")?,
            forge: parsed_or_null(row, "forge")?,
            delivery_id: parsed_or_null(row, "delivery_id")?,
            received_at: Timestamp::from_millis(row.get("received_at")?),
            by: row.get("by")?,
            uid: row.get("uid")?,
            event: event(row)?,
        },
    })
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let kind: String = row.get("kind")?;
    let git_ref: Option<GitRef> = parsed_or_null(row, "git_ref")?;
    Ok(match (kind.as_str(), git_ref) {
        ("push", Some(GitRef::Branch(branch))) => Event::Push { branch, sha: parsed(row, "sha")? },
        ("branch_deleted", Some(GitRef::Branch(branch))) => Event::BranchDeleted { branch },
        ("pull_request", Some(GitRef::PullRequest(number))) => Event::PullRequest {
            number,
            sha: parsed(row, "sha")?,
            head: PullRequestHead {
                repository: row.get("head_repository")?,
                base_repository: row.get("base_repository")?,
                association: row.get("association")?,
            },
        },
        ("pull_request_closed", Some(GitRef::PullRequest(number))) => {
            Event::PullRequestClosed { number }
        }
        ("approve", None) => Event::Approve { build: BuildId::from_row(row.get("build_id")?) },
        ("cancel", None) => Event::Cancel { build: BuildId::from_row(row.get("build_id")?) },
        ("tear_down", Some(git_ref)) => {
            Event::TearDown { git_ref, service: parsed_or_null(row, "service")? }
        }
        ("redeploy", Some(git_ref)) => {
            Event::Redeploy { git_ref, service: parsed_or_null(row, "service")? }
        }
        ("rebuild", Some(git_ref)) => Event::Rebuild { git_ref },
        ("roll_back", Some(git_ref)) => Event::RollBack {
            git_ref,
            service: parsed(row, "service")?,
            to: row.get::<_, Option<i64>>("deployment_id")?.map(DeploymentId::from_row),
        },
        ("pin", Some(git_ref)) => Event::Pin { git_ref, service: parsed_or_null(row, "service")? },
        ("unpin", Some(git_ref)) => {
            Event::Unpin { git_ref, service: parsed_or_null(row, "service")? }
        }
        ("maintenance_on", git_ref) => Event::MaintenanceOn {
            git_ref,
            service: parsed_or_null(row, "service")?,
            notice: Notice {
                message: parsed_or_null(row, "message")?,
                retry_after_secs: row.get("seconds")?,
            },
        },
        ("maintenance_off", git_ref) => {
            Event::MaintenanceOff { git_ref, service: parsed_or_null(row, "service")? }
        }
        ("extend", Some(git_ref)) => {
            let seconds: i64 = row.get("seconds")?;
            let by = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            Event::Extend { git_ref, by: Period(by) }
        }
        ("expired", Some(git_ref)) => Event::Expired { git_ref },
        ("secret_set", None) => {
            Event::SecretSet { name: parsed(row, "secret")?, scope: parsed(row, "scope")? }
        }
        ("secret_removed", None) => {
            Event::SecretRemoved { name: parsed(row, "secret")?, scope: parsed(row, "scope")? }
        }
        ("token_created", None) => Event::TokenCreated { name: parsed(row, "token")? },
        ("token_revoked", None) => Event::TokenRevoked { name: parsed(row, "token")? },
        // Written by nothing that this program knows: the query fails, and says which column.
        _ => return Err(rusqlite::Error::InvalidColumnName(format!("kind {kind}"))),
    })
}

#[cfg(test)]
mod tests {
    use kennel_core::Forge;

    use super::*;

    fn inbox() -> (tempfile::TempDir, Inbox) {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(&dir.path().join("inbox.db"), Access::Patient).unwrap();
        (dir, inbox)
    }

    fn push(sha: char, delivery_id: Option<&str>) -> Delivery {
        Delivery {
            project: "site".parse().unwrap(),
            forge: Some(Forge::Forgejo),
            delivery_id: delivery_id.map(|id| id.parse().unwrap()),
            received_at: Timestamp::from_millis(1),
            by: Some("ada".into()),
            uid: Some(1000),
            event: Event::Push {
                branch: "main".parse().unwrap(),
                sha: sha.to_string().repeat(40).parse().unwrap(),
            },
        }
    }

    #[test]
    fn every_kind_of_event_comes_back_as_it_went_in() {
        let (_dir, mut inbox) = inbox();
        let mut deliveries = vec![push('a', Some("1"))];
        for event in [
            Event::BranchDeleted { branch: "main".parse().unwrap() },
            Event::PullRequest {
                number: 5,
                sha: "b".repeat(40).parse().unwrap(),
                head: PullRequestHead {
                    repository: None,
                    base_repository: "team/site".into(),
                    association: Some("MEMBER".into()),
                },
            },
            Event::PullRequestClosed { number: 5 },
            Event::Approve { build: BuildId::from_row(3) },
            Event::Cancel { build: BuildId::from_row(4) },
            Event::TearDown {
                git_ref: "refs/pull/5/head".parse().unwrap(),
                service: Some("api".parse().unwrap()),
            },
            Event::Redeploy {
                git_ref: "refs/heads/main".parse().unwrap(),
                service: Some("api".parse().unwrap()),
            },
            Event::Redeploy { git_ref: "refs/heads/next".parse().unwrap(), service: None },
            Event::Rebuild { git_ref: "refs/heads/main".parse().unwrap() },
            Event::RollBack {
                git_ref: "refs/heads/main".parse().unwrap(),
                service: "api".parse().unwrap(),
                to: Some(DeploymentId::from_row(12)),
            },
            Event::RollBack {
                git_ref: "refs/heads/next".parse().unwrap(),
                service: "api".parse().unwrap(),
                to: None,
            },
            Event::Pin { git_ref: "refs/heads/main".parse().unwrap(), service: None },
            Event::Unpin {
                git_ref: "refs/heads/main".parse().unwrap(),
                service: Some("api".parse().unwrap()),
            },
            Event::MaintenanceOn {
                git_ref: None,
                service: None,
                notice: Notice { message: None, retry_after_secs: 300 },
            },
            Event::MaintenanceOn {
                git_ref: Some("refs/heads/main".parse().unwrap()),
                service: Some("api".parse().unwrap()),
                notice: Notice {
                    message: Some("back at six".parse().unwrap()),
                    retry_after_secs: 60,
                },
            },
            Event::MaintenanceOff { git_ref: None, service: None },
            Event::MaintenanceOff {
                git_ref: Some("refs/pull/5/head".parse().unwrap()),
                service: Some("api".parse().unwrap()),
            },
            Event::Extend {
                git_ref: "refs/heads/next".parse().unwrap(),
                by: "1d12h".parse().unwrap(),
            },
            Event::Expired { git_ref: "refs/heads/next".parse().unwrap() },
            Event::SecretSet {
                name: "JWT_SECRET".parse().unwrap(),
                scope: kennel_core::SecretScope::Both,
            },
            Event::SecretRemoved {
                name: "JWT_SECRET".parse().unwrap(),
                scope: kennel_core::SecretScope::Preview,
            },
            Event::TokenCreated { name: "ci".parse().unwrap() },
            Event::TokenRevoked { name: "ci".parse().unwrap() },
        ] {
            deliveries.push(Delivery { event, delivery_id: None, ..push('a', None) });
        }
        inbox.append(&deliveries).unwrap();
        let back: Vec<_> = inbox.waiting(100).unwrap().into_iter().map(|e| e.delivery).collect();
        assert_eq!(back, deliveries);
    }

    #[test]
    fn a_known_delivery_adds_nothing_even_after_it_was_taken() {
        let (_dir, mut inbox) = inbox();
        let first = inbox.append(&[push('a', Some("1"))]).unwrap();
        let Appended::New(id) = first[0] else { panic!("{first:?}") };
        inbox.consume(id, "build 1", Timestamp::from_millis(2)).unwrap();
        assert_eq!(inbox.append(&[push('b', Some("1"))]).unwrap(), [Appended::Duplicate(id)]);
        assert_eq!(inbox.outcome(id).unwrap().as_deref(), Some("build 1"));
    }

    #[test]
    fn the_same_commit_waits_once_but_a_way_back_counts() {
        let (_dir, mut inbox) = inbox();
        let appended = inbox
            .append(&[push('a', Some("1")), push('a', Some("2")), push('b', None), push('a', None)])
            .unwrap();
        assert!(matches!(
            appended[..],
            [Appended::New(_), Appended::Duplicate(_), Appended::New(_), Appended::New(_)]
        ));
    }

    #[test]
    fn ends_of_a_ref_and_of_its_services_are_found() {
        let (_dir, mut inbox) = inbox();
        let main: GitRef = "refs/heads/main".parse().unwrap();
        let tear_down = |service: Option<&str>| Event::TearDown {
            git_ref: main.clone(),
            service: service.map(|name| name.parse().unwrap()),
        };
        let mut deliveries = vec![push('a', None)];
        for event in [tear_down(Some("api")), tear_down(None)] {
            deliveries.push(Delivery { forge: None, event, ..push('a', None) });
        }
        inbox.append(&deliveries).unwrap();
        let ends = |git_ref: &str, service: Option<&str>, after: i64| {
            let (project, git_ref) = ("site".parse().unwrap(), git_ref.parse().unwrap());
            let service = service.map(|name| name.parse().unwrap());
            let after = EventId::from_row(after);
            let end = inbox.end_since(&project, &git_ref, service.as_ref(), after).unwrap();
            end.map(|end| end.id.get())
        };
        assert_eq!(ends("refs/heads/main", None, 0), Some(3));
        assert_eq!(ends("refs/heads/main", Some("web"), 2), Some(3));
        assert_eq!(ends("refs/heads/main", Some("api"), 3), None);
        assert_eq!(ends("refs/heads/other", None, 0), None);
        inbox.connection.execute("DELETE FROM events WHERE id = 3", []).unwrap();
        assert_eq!(ends("refs/heads/main", None, 0), None);
        assert_eq!(ends("refs/heads/main", Some("web"), 0), None);
        assert_eq!(ends("refs/heads/main", Some("api"), 1), Some(2));
        assert_eq!(ends("refs/heads/main", Some("api"), 2), None);
    }

    #[test]
    fn a_commit_that_was_taken_may_come_again() {
        let (_dir, mut inbox) = inbox();
        let appended = inbox.append(&[push('a', Some("1"))]).unwrap();
        let Appended::New(id) = appended[0] else { panic!() };
        inbox.consume(id, "build 1", Timestamp::from_millis(2)).unwrap();
        assert!(matches!(inbox.append(&[push('a', Some("2"))]).unwrap()[0], Appended::New(_)));
        assert_eq!(inbox.waiting(10).unwrap().len(), 1);
    }

    #[test]
    fn what_waits_is_read_in_pieces() {
        let (_dir, mut inbox) = inbox();
        inbox.append(&[push('a', None), push('b', None), push('c', None)]).unwrap();
        let ids = |after: i64, limit| -> Vec<i64> {
            let rows = inbox.waiting_after(Some(EventId::from_row(after)), limit).unwrap();
            rows.iter().map(|row| row.id.get()).collect()
        };
        assert_eq!(ids(0, 2), [1, 2]);
        assert_eq!(ids(2, 2), [3]);
        assert_eq!(ids(3, 2), [0; 0]);
    }

    #[test]
    fn what_is_told_meanwhile_is_not_contradicted() {
        let (_dir, mut inbox) = inbox();
        let [a, b] = ['a', 'b'].map(|sha| push(sha, None));
        let main: Branch = "main".parse().unwrap();
        inbox.append(&[a.clone(), b.clone()]).unwrap();
        let gone = Event::BranchDeleted { branch: "old".parse().unwrap() };
        inbox.append(&[Delivery { event: gone, ..push('a', None) }]).unwrap();
        let told = inbox.told(&a.project).unwrap();
        let heads: Vec<_> = told.branches[&main].iter().flatten().map(CommitSha::short).collect();
        assert_eq!(heads, ["b".repeat(12), "a".repeat(12)]);
        assert_eq!(told.branches[&"old".parse::<Branch>().unwrap()], [None]);
        assert_eq!(inbox.told(&"other".parse().unwrap()).unwrap().branches.len(), 0);

        // A push of another branch contradicts nothing, one of this branch does.
        let other =
            Event::Push { branch: "next".parse().unwrap(), sha: "c".repeat(40).parse().unwrap() };
        inbox.append(&[Delivery { event: other, ..push('c', None) }]).unwrap();
        let found = Delivery { forge: None, ..push('c', None) };
        assert_eq!(inbox.append_found(std::slice::from_ref(&found), told.until).unwrap(), [0]);
        assert_eq!(inbox.append_found(&[found], told.until).unwrap(), [0; 0]);
    }
}
