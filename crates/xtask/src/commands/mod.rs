//! One module per command; each ends in an exit code.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod host;
mod steps;
pub(crate) mod test;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use xtask::checkout::Checkout;
use xtask::product::{Product, Profile};

/// `cargo xtask man`
pub(crate) fn man(directory: &Path) -> Result<ExitCode> {
    Product::build(&Checkout::find()?, Profile::Quick)?.manual(directory)?;
    println!("man pages written to {}", directory.display());
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask completions`
pub(crate) fn completions(directory: &Path) -> Result<ExitCode> {
    Product::build(&Checkout::find()?, Profile::Quick)?.completions_into(directory)?;
    println!("completions written to {}", directory.display());
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask install`
pub(crate) fn install(root: &Path, profile: Profile) -> Result<ExitCode> {
    Product::build(&Checkout::find()?, profile)?.install(root)?;
    println!("installed into {}", root.display());
    Ok(ExitCode::SUCCESS)
}
