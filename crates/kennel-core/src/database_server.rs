//! The servers of preview databases.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// Where a preview database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseServer {
    /// `[valkey]`
    Valkey,
    /// `[postgresql]`
    Postgresql,
}

impl DatabaseServer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Valkey, Self::Postgresql];

    /// Its name in rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valkey => "valkey",
            Self::Postgresql => "postgresql",
        }
    }
}

impl fmt::Display for DatabaseServer {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valkey => "Valkey",
            Self::Postgresql => "PostgreSQL",
        })
    }
}

impl FromStr for DatabaseServer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|server| server.as_str() == text)
            .ok_or_else(|| Invalid::new("server of databases", text, "no server has this name"))
    }
}
