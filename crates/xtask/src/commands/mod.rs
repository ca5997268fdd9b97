//! One module per command; each ends in an exit code.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod fuzz;
pub(crate) mod host;
mod steps;
pub(crate) mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use xtask::checkout::Checkout;
use xtask::package::{Package, version_of};
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

/// `cargo xtask deb`
pub(crate) fn deb(output: Option<PathBuf>, profile: Profile) -> Result<ExitCode> {
    pack(output, profile, Format::Deb)
}

/// `cargo xtask tarball`
pub(crate) fn tarball(output: Option<PathBuf>, profile: Profile) -> Result<ExitCode> {
    pack(output, profile, Format::Tarball)
}

#[derive(Clone, Copy)]
enum Format {
    Deb,
    Tarball,
}

fn pack(output: Option<PathBuf>, profile: Profile, format: Format) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    let product = Product::build(&checkout, profile)?;
    let package = Package::new(&checkout, &product, &version_of(&checkout)?);
    let folder = output.unwrap_or_else(|| checkout.target().join("package"));
    let made = match format {
        Format::Deb => package.deb(&folder)?,
        Format::Tarball => package.tarball(&folder)?,
    };
    println!("{}", made.display());
    Ok(ExitCode::SUCCESS)
}
