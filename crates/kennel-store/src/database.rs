//! How every one of Kennel's databases is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::StoreError;

/// How long a program may wait for another one's write, and whether it writes at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads and writes. Waits up to a minute: whoever holds a database longer is broken, and a
    /// job that gave up earlier would fail a push for nothing.
    Patient,
    /// Reads and writes. Waits up to two seconds: a forge gives up after five, and a 503 in time
    /// is better than none.
    Hasty,
    /// Only reads, and neither makes nor migrates the file.
    ReadOnly,
}

/// One database's schema: the steps from nothing to now, each one transaction.
/// `user_version` counts the steps taken.
pub(crate) type Schema = &'static [&'static str];

pub(crate) fn open(path: &Path, schema: Schema, access: Access) -> Result<Connection, StoreError> {
    let mut connection =
        connect(path, access).map_err(|source| StoreError::Open { path: path.into(), source })?;
    migrate(&mut connection, path, schema, access)?;
    Ok(connection)
}

pub(crate) fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let (mode, patience) = match access {
        Access::Patient => (OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, 60),
        Access::Hasty => (OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE, 2),
        Access::ReadOnly => (OpenFlags::SQLITE_OPEN_READ_ONLY, 10),
    };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(patience))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if access != Access::ReadOnly {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // FULL: a committed row survives power loss, which NORMAL does not promise in WAL mode.
        connection.pragma_update(None, "synchronous", "FULL")?;
    }
    Ok(connection)
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    schema: Schema,
    access: Access,
) -> Result<(), StoreError> {
    let in_open = |source| StoreError::Open { path: path.into(), source };
    let known = u32::try_from(schema.len()).unwrap_or(u32::MAX);
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
    };
    let mut found = version(connection).map_err(in_open)?;
    while found < known && access != Access::ReadOnly {
        let step = immediate(connection).map_err(in_open)?;
        // Another program may have taken the step while this one waited for the lock.
        found = version(&step).map_err(in_open)?;
        let index = usize::try_from(found).unwrap_or(usize::MAX);
        if let Some(sql) = schema.get(index) {
            step.execute_batch(sql).map_err(in_open)?;
            step.pragma_update(None, "user_version", found + 1).map_err(in_open)?;
            found += 1;
        }
        step.commit().map_err(in_open)?;
    }
    if found > known {
        return Err(StoreError::Newer { path: path.into(), found, known });
    }
    Ok(())
}

/// A transaction that writes.
pub(crate) fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    // IMMEDIATE: a deferred transaction that reads before it writes can get SQLITE_BUSY at once,
    // past any busy_timeout.
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_and_newer_schemas_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let one: Schema = &["CREATE TABLE a (x INTEGER) STRICT"];
        let two: Schema =
            &["CREATE TABLE a (x INTEGER) STRICT", "ALTER TABLE a ADD COLUMN y INTEGER"];
        drop(open(&path, one, Access::Patient).unwrap());
        drop(open(&path, one, Access::Patient).unwrap());
        let newer = open(&path, two, Access::Patient).unwrap();
        newer.execute("INSERT INTO a (x, y) VALUES (1, 2)", []).unwrap();
        let error = open(&path, one, Access::Patient).unwrap_err().to_string();
        let error = error.replace(dir.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(error, @"the database DIR/x.db has schema 2, and this program knows 1; install the newer version again");
    }

    #[test]
    fn a_failed_step_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let bad: Schema = &["CREATE TABLE a (x INTEGER) STRICT; CREATE TABLE a (x INTEGER) STRICT"];
        assert!(open(&path, bad, Access::Patient).is_err());
        let good: Schema = &["CREATE TABLE a (x INTEGER) STRICT"];
        assert!(open(&path, good, Access::Patient).is_ok());
    }

    #[test]
    fn durable_and_strict() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open(&dir.path().join("x.db"), &[], Access::Patient).unwrap();
        let pragma = |name: &str| -> String {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("foreign_keys"), "Integer(1)");
        assert_eq!(pragma("trusted_schema"), "Integer(0)");
    }
}
