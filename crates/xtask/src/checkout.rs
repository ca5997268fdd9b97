//! The checkout that is being built and tested.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A working copy of Kennel, and where cargo puts what it makes of it.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
    target: PathBuf,
}

impl Checkout {
    /// The checkout around the current directory.
    ///
    /// Found at run time: a path baked in at compile time is wrong once the folder was moved.
    ///
    /// # Errors
    /// When no folder above holds Kennel's `crates/xtask`.
    pub fn find() -> Result<Self> {
        let here = env::current_dir().context("the current directory is gone")?;
        let root = here
            .ancestors()
            .find(|dir| dir.join("crates/xtask/Cargo.toml").is_file())
            .with_context(|| {
                format!("{} is not inside a checkout of Kennel; change into one", here.display())
            })?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target })
    }

    /// The folder of the root `Cargo.toml`.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where base trees and booted hosts lie.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.target.join("host")
    }
}
