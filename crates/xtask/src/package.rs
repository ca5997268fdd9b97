//! Packages: the tree that [`Product::install`] makes, with what a package manager wants to know.
//!
//! Made by dpkg-deb and tar themselves: there is one list of files, the tree.

mod deb;
mod tarball;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::product::Product;

/// A product with a version, ready to be packed.
#[derive(Debug)]
pub struct Package<'a> {
    checkout: &'a Checkout,
    product: &'a Product,
    version: String,
    compression: &'static Compression,
}

/// How files are compressed.
#[derive(Debug)]
struct Compression {
    /// As dpkg-deb is told.
    deb: [&'static str; 2],
    /// As tar is told.
    tar: &'static str,
    /// What the archive's name ends with.
    suffix: &'static str,
}

/// What is published.
const SMALL: Compression = Compression { deb: ["-Zxz", "-z6"], tar: "xz", suffix: "tar.xz" };

/// What Debian Policy takes, too.
const QUICK: Compression = Compression { deb: ["-Zgzip", "-z1"], tar: "gzip -1", suffix: "tar.gz" };

impl<'a> Package<'a> {
    /// `version` is Debian's ([`version_of`] makes one).
    #[must_use]
    pub fn new(checkout: &'a Checkout, product: &'a Product, version: &str) -> Self {
        Self { checkout, product, version: version.to_owned(), compression: &SMALL }
    }

    /// Without the half minute that compressing well takes: for tests.
    #[must_use]
    pub fn in_a_hurry(self) -> Self {
        Self { compression: &QUICK, ..self }
    }

    /// Makes `kennel_<version>_<architecture>.deb` in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written, or dpkg-deb fails.
    pub fn deb(&self, folder: &Path) -> Result<PathBuf> {
        deb::make(self, folder)
    }

    /// Makes `kennel-<version>-<architecture>.tar.xz` in `folder`, with an `install.sh`.
    ///
    /// # Errors
    /// When a file cannot be written, or tar fails.
    pub fn tarball(&self, folder: &Path) -> Result<PathBuf> {
        tarball::make(self, folder)
    }

    fn file(&self, path: &str) -> Result<String> {
        let path = self.checkout.root().join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// The version of what is checked out: `0.1.0` where the tag `v0.1.0` is, elsewhere
/// `0.1.0~git20261124093000.2425e51`, which is older than that, and newer with each commit.
///
/// # Errors
/// When git cannot say which commit it is.
pub fn version_of(checkout: &Checkout) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    if !checkout.root().join(".git").exists() {
        // An unpacked archive of a release.
        return Ok(version.to_owned());
    }
    let tags = git(checkout, &["tag", "--points-at", "HEAD"])?;
    if tags.lines().any(|tag| tag.strip_prefix('v') == Some(version)) {
        return Ok(version.to_owned());
    }
    let format = "--date=format-local:%Y%m%d%H%M%S";
    let commit = git(checkout, &["log", "-1", format, "--abbrev=7", "--format=%cd.%h"])?;
    Ok(format!("{version}~git{}", commit.trim()))
}

fn git(checkout: &Checkout, arguments: &[&str]) -> Result<String> {
    run(Command::new("git").args(arguments).current_dir(checkout.root()).env("TZ", "UTC"))
}

/// What the program prints.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}; is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An empty folder for the tree.
fn empty(folder: PathBuf) -> Result<PathBuf> {
    crate::base::remove_tree(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
