//! What the outside asked for, and what Kennel says became of it.

use crate::rows::open;
use crate::{Kennel, Result};

/// One inbox row.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `push`, `branch_deleted`, `pull_request` and the like.
    pub kind: String,
    /// `refs/heads/main`; none for a wish about a build.
    pub git_ref: Option<String>,
    /// What became of it; none while it waits.
    pub outcome: Option<String>,
}

impl Asked {
    /// Everything that was ever asked for about a project, oldest first.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub fn about(kennel: &Kennel, project: &str) -> Result<Vec<Self>> {
        let inbox = open(kennel.host(), "inbox/inbox.db")?;
        let mut statement = inbox
            .prepare("SELECT kind, git_ref, outcome FROM events WHERE project = ?1 ORDER BY id")?;
        let rows = statement.query_map([project], |row| {
            Ok(Self {
                kind: row.get("kind")?,
                git_ref: row.get("git_ref")?,
                outcome: row.get("outcome")?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
