//! The audit: what people did, who, when, and what came of it.
//!
//! Facts of forges are not in it: pushes are builds, which say who caused them.

use kennel_core::{Action, Delivery, EventId, ProjectName, Timestamp};
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

use crate::column::parsed;
use crate::conditions::Conditions;
use crate::database::immediate;
use crate::{InboxEntry, State, StoreError};

/// The most rows that are kept: years of a large team, and a database that stays small.
const MOST_ROWS: i64 = 100_000;

/// One thing that a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Counts up.
    pub id: i64,
    /// When the person did it.
    pub at: Timestamp,
    /// The person's login.
    pub by: Option<String>,
    /// The login's number on this host.
    pub uid: Option<u32>,
    /// What was done.
    pub action: Action,
    /// Of which project.
    pub project: ProjectName,
    /// To what of it, in words: `main/api`, `build 42`.
    pub subject: String,
    /// What came of it, in words.
    pub outcome: String,
}

/// Which rows are asked for; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of this project.
    pub project: Option<ProjectName>,
    /// Only these actions; all if empty.
    pub actions: Vec<Action>,
    /// Done since then.
    pub since: Option<Timestamp>,
    /// By this login.
    pub by: Option<String>,
}

impl State {
    /// Writes down what a person wished and what came of it. A wish that is taken again, since the
    /// program died before it had said so, is one row all the same; a fact of a forge is none.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn record(&mut self, entry: &InboxEntry, outcome: &str) -> Result<(), StoreError> {
        let Delivery { project, received_at, by, uid, event, .. } = &entry.delivery;
        let Some(action) = event.action() else { return Ok(()) };
        let tx = immediate(&mut self.connection)?;
        tx.execute(
            "INSERT INTO audit (request_id, at, by, uid, action, project, subject, outcome)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (request_id) DO NOTHING",
            params![
                entry.id.get(),
                received_at.millis(),
                by,
                uid,
                action.as_str(),
                project.as_str(),
                event.subject(),
                outcome,
            ],
        )?;
        tx.execute("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1", [MOST_ROWS])?;
        Ok(tx.commit()?)
    }

    /// The newest rows that the filter lets through, newest first, at most `limit`.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn audit(&self, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let Conditions { sql, values } = conditions(filter);
        let sql = format!("SELECT * FROM audit WHERE {sql} ORDER BY id DESC LIMIT {limit}");
        let mut statement = self.connection.prepare(&sql)?;
        let rows = statement.query_map(params_from_iter(values), audit_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was written down of one inbox row; none if it is no person's wish.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn audit_of(&self, request: EventId) -> Result<Option<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit WHERE request_id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([request.get()], audit_row).optional()?)
    }

    /// How many rows the filter lets through.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn audit_count(&self, filter: &AuditFilter) -> Result<u64, StoreError> {
        let Conditions { sql, values } = conditions(filter);
        let sql = format!("SELECT count(*) FROM audit WHERE {sql}");
        let count: i64 =
            self.connection.query_row(&sql, params_from_iter(values), |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn conditions(filter: &AuditFilter) -> Conditions {
    let mut it = Conditions::none();
    if let Some(project) = &filter.project {
        it.and("project = ?", [project.as_str().to_owned().into()]);
    }
    it.and_one_of("action", filter.actions.iter().map(|action| action.as_str()));
    if let Some(since) = filter.since {
        it.and("at >= ?", [since.millis().into()]);
    }
    if let Some(by) = &filter.by {
        it.and("by = ?", [by.clone().into()]);
    }
    it
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        id: row.get("id")?,
        at: Timestamp::from_millis(row.get("at")?),
        by: row.get("by")?,
        uid: row.get("uid")?,
        action: parsed(row, "action")?,
        project: parsed(row, "project")?,
        subject: row.get("subject")?,
        outcome: row.get("outcome")?,
    })
}

#[cfg(test)]
mod tests {
    use kennel_core::{BuildId, Event, Forge};

    use super::*;
    use crate::Access;

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        (dir, state)
    }

    fn entry(id: i64, project: &str, event: Event) -> InboxEntry {
        let delivery = Delivery {
            project: project.parse().unwrap(),
            forge: None,
            delivery_id: None,
            received_at: Timestamp::from_millis(id * 1000),
            by: Some(if id % 2 == 0 { "bob" } else { "ada" }.into()),
            uid: Some(1000),
            event,
        };
        InboxEntry { id: EventId::from_row(id), delivery }
    }

    fn cancel(build: i64) -> Event {
        Event::Cancel { build: BuildId::from_row(build) }
    }

    #[test]
    fn a_wish_is_one_row_however_often_it_is_taken() {
        let (_dir, mut state) = state();
        let wish = entry(1, "site", cancel(4));
        state.record(&wish, "build 4 is cancelled").unwrap();
        state.record(&wish, "build 4 is cancelled already").unwrap();
        let rows = state.audit(&AuditFilter::default(), 10).unwrap();
        let row = AuditRow {
            id: 1,
            at: Timestamp::from_millis(1000),
            by: Some("ada".into()),
            uid: Some(1000),
            action: Action::Cancel,
            project: "site".parse().unwrap(),
            subject: "build 4".into(),
            outcome: "build 4 is cancelled".into(),
        };
        assert_eq!(rows, [row]);
    }

    #[test]
    fn what_forges_say_is_not_in_it() {
        let (_dir, mut state) = state();
        let mut push = entry(1, "site", Event::BranchDeleted { branch: "main".parse().unwrap() });
        push.delivery.forge = Some(Forge::Github);
        state.record(&push, "torn down").unwrap();
        assert_eq!(state.audit_count(&AuditFilter::default()).unwrap(), 0);
    }

    #[test]
    fn every_condition_must_hold() {
        let (_dir, mut state) = state();
        let branch = "refs/heads/main".parse().unwrap();
        for wish in [
            entry(1, "site", cancel(4)),
            entry(2, "site", Event::Rebuild { git_ref: branch }),
            entry(3, "blog", cancel(5)),
            entry(4, "blog", cancel(6)),
        ] {
            state.record(&wish, "done").unwrap();
        }
        let found = |filter: AuditFilter| -> Vec<i64> {
            let rows = state.audit(&filter, 10).unwrap();
            assert_eq!(state.audit_count(&filter).unwrap(), rows.len() as u64);
            rows.iter().map(|row| row.id).collect()
        };
        let all = AuditFilter::default;
        assert_eq!(found(all()), [4, 3, 2, 1]);
        assert_eq!(found(AuditFilter { project: Some("blog".parse().unwrap()), ..all() }), [4, 3]);
        assert_eq!(found(AuditFilter { by: Some("bob".into()), ..all() }), [4, 2]);
        assert_eq!(found(AuditFilter { actions: vec![Action::Rebuild], ..all() }), [2]);
        let since = Some(Timestamp::from_millis(2000));
        assert_eq!(found(AuditFilter { since, by: Some("ada".into()), ..all() }), [3]);
    }

    #[test]
    fn the_oldest_rows_give_way() {
        let (_dir, mut state) = state();
        state.record(&entry(1, "site", cancel(1)), "done").unwrap();
        let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'audit'";
        state.connection.execute(sql, [MOST_ROWS]).unwrap();
        state.record(&entry(2, "site", cancel(2)), "done").unwrap();
        let rows = state.audit(&AuditFilter::default(), 10).unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [MOST_ROWS + 1]);
    }
}
