//! How a new version of a service takes the place of the one before.

use serde::{Deserialize, Serialize};

/// `strategy` of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The new one starts beside the old one, and takes over when it is healthy.
    #[default]
    BlueGreen,
    /// The old one ends before the new one starts, and visitors wait meanwhile: never two at once.
    Recreate,
}
