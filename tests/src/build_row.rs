//! Builds as their rows have them, read from outside while Kennel runs.

use crate::rows::open;
use crate::{Kennel, Result};

/// One build's row. Moments are milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct BuildRow {
    /// Its number.
    pub id: i64,
    /// The project.
    pub project: String,
    /// `refs/heads/main`.
    pub git_ref: String,
    /// The commit.
    pub commit: String,
    /// `building` and the like.
    pub state: String,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// The newer build that made it superfluous.
    pub superseded_by: Option<i64>,
    /// When the row was made.
    pub queued_at: i64,
    /// When it began first.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
}

impl BuildRow {
    /// Every build of the host, oldest first.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn all(kennel: &Kennel) -> Result<Vec<Self>> {
        let builds = open(kennel.host(), "builds/builds.db")?;
        let mut statement = builds.prepare("SELECT * FROM builds ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            Ok(Self {
                id: row.get("id")?,
                project: row.get("project")?,
                git_ref: row.get("git_ref")?,
                commit: row.get("sha")?,
                state: row.get("state")?,
                reason: row.get("reason")?,
                superseded_by: row.get("superseded_by")?,
                queued_at: row.get("queued_at")?,
                started_at: row.get("started_at")?,
                finished_at: row.get("finished_at")?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The builds of one project, oldest first.
    ///
    /// # Errors
    /// As [`BuildRow::all`].
    pub fn of(kennel: &Kennel, project: &str) -> Result<Vec<Self>> {
        let mut all = Self::all(kennel)?;
        all.retain(|build| build.project == project);
        Ok(all)
    }
}
