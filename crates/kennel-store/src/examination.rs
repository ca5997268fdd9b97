//! A look at a database as a file: its schema, and whether its pages are whole.
//!
//! Only reads, and never migrates: what is found is for people.

use std::path::Path;

use rusqlite::Connection;

use crate::database::{Access, Schema, connect};
use crate::{Builds, Inbox, State, StoreError, builds, deployments, inbox};

/// What was found in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The schema found; 0 if no program has opened the file yet.
    pub schema: u32,
    /// The newest schema that this program knows.
    pub known: u32,
    /// What `PRAGMA quick_check` complains about, at most ten lines; empty if all is well.
    pub damage: Vec<String>,
}

impl Inbox {
    /// Looks at inbox.db. Reads the whole file.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is no database.
    pub fn examine(path: &Path) -> Result<Examination, StoreError> {
        examine(path, inbox::SCHEMA)
    }
}

impl Builds {
    /// Looks at builds.db. Reads the whole file.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is no database.
    pub fn examine(path: &Path) -> Result<Examination, StoreError> {
        examine(path, builds::SCHEMA)
    }
}

impl State {
    /// Looks at state.db. Reads the whole file.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is no database.
    pub fn examine(path: &Path) -> Result<Examination, StoreError> {
        examine(path, deployments::SCHEMA)
    }
}

fn examine(path: &Path, schema: Schema) -> Result<Examination, StoreError> {
    let in_open = |source| StoreError::Open { path: path.into(), source };
    let connection = connect(path, Access::ReadOnly).map_err(in_open)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    Ok(Examination {
        schema: found.map_err(in_open)?,
        known: u32::try_from(schema.len()).unwrap_or(u32::MAX),
        damage: damage(&connection).map_err(in_open)?,
    })
}

fn damage(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(10)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn whole_new_and_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        fs::write(&path, "").unwrap();
        let new = State::examine(&path).unwrap();
        assert_eq!((new.schema, new.damage.len()), (0, 0));
        drop(State::open(&path, Access::Patient).unwrap());
        let whole = State::examine(&path).unwrap();
        assert_eq!((whole.schema, whole.damage.len()), (whole.known, 0));
        let mut bytes = fs::read(&path).unwrap();
        let pages = bytes.len() / 4096;
        assert!(pages > 4, "{pages}");
        bytes[4096..8192].fill(0xff);
        fs::write(&path, &bytes).unwrap();
        // How deep the damage is decides whether it can be listed.
        assert!(State::examine(&path).map_or(true, |found| !found.damage.is_empty()));
        fs::write(&path, "this is no database, but long enough to be one".repeat(200)).unwrap();
        assert!(matches!(State::examine(&path), Err(StoreError::Open { .. })));
    }
}
