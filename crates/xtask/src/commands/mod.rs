//! One module per command; each ends in an exit code.

pub(crate) mod host;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use xtask::checkout::Checkout;
use xtask::product::{self, Profile};

/// `cargo xtask install`
pub(crate) fn install(root: &Path, profile: Profile) -> Result<ExitCode> {
    let missing = product::install(&Checkout::find()?, root, profile)?;
    if missing.is_empty() {
        println!("installed into {}", root.display());
    } else {
        println!(
            "installed into {}, but for what is not there yet: {}",
            root.display(),
            missing.join(", ")
        );
    }
    Ok(ExitCode::SUCCESS)
}
