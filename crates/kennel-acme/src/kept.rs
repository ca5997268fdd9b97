//! A file of its own that kennel-acme remembers something in.

use std::fs;
use std::path::Path;

use kennel_store::whole_file;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::AcmeError;

/// What is remembered. A file that cannot be read is as good as none: for what costs little to learn
/// again.
pub(crate) fn load_or_forget<T: DeserializeOwned + Default>(path: &Path) -> T {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            warn!("{} is forgotten: {error}", path.display());
            T::default()
        }),
        Err(_none_yet) => T::default(),
    }
}

/// Writes it whole.
pub(crate) fn store<T: Serialize>(path: &Path, kept: &T, mode: u32) -> Result<(), AcmeError> {
    let text = serde_json::to_string_pretty(kept)
        .map_err(|error| AcmeError::file("write", path)(error.into()))?;
    whole_file::replace(path, &text, mode).map_err(AcmeError::file("write", path))
}
