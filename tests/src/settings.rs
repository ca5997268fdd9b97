//! What an operator changes for a while.

use std::fs;
use std::path::PathBuf;

use crate::{Kennel, Result};

/// More lines in the host's `config.toml`, until this is dropped.
#[derive(Debug)]
pub struct Settings {
    file: PathBuf,
    before: String,
}

impl Settings {
    /// Adds them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn with(kennel: &Kennel, more: &str) -> Result<Self> {
        let file = kennel.host().root().join("etc/kennel/config.toml");
        let before = fs::read_to_string(&file)?;
        fs::write(&file, format!("{before}{more}"))?;
        Ok(Self { file, before })
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = fs::write(&self.file, &self.before);
    }
}
