//! What can go wrong with a database.

use std::path::PathBuf;

use kennel_core::{Invalid, Port, WrongTurn};

/// A database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or prepared.
    #[error("cannot open the database {}", .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer version of Kennel changed the file's schema.
    #[error("the database {} has schema {found}, and this program knows {known}; install the newer version again", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The schema found.
        found: u32,
        /// The newest schema that this program knows.
        known: u32,
    },
    /// A query failed.
    #[error("the database refused")]
    Query(#[from] rusqlite::Error),
    /// A row holds a text that no version of Kennel wrote.
    #[error("a row cannot be read")]
    Row(#[from] Invalid),
    /// A row's settings cannot be read.
    #[error("the settings of deployment {deployment} cannot be read")]
    Settings {
        /// Whose.
        deployment: i64,
        /// Why.
        source: serde_json::Error,
    },
    /// The row changed in between.
    #[error(transparent)]
    WrongTurn(#[from] WrongTurn),
    /// There is no such row.
    #[error("there is no {thing} {id}")]
    NoRow {
        /// `build` or `deployment`.
        thing: &'static str,
        /// The id asked for.
        id: i64,
    },
    /// Every port of the range is taken.
    #[error(
        "no port between {first} and {last} is free; widen `port_range` in config.toml, or tear something down"
    )]
    NoPort {
        /// The range's first port.
        first: Port,
        /// The range's last port.
        last: Port,
    },
    /// Every candidate for a name is taken, which needs a deliberate collision of hashes.
    #[error("no {kind} for {for_what} is free")]
    NoName {
        /// `slug`, `user` or `label`.
        kind: &'static str,
        /// What it was to name.
        for_what: String,
    },
}

impl StoreError {
    /// Whether another program held the database for too long; trying again later can help.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query(source)) = self else { return false };
        matches!(
            source.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    }
}
