//! A Debian that has never seen Kennel, and packages for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use xtask::base;
use xtask::checkout::Checkout;
use xtask::host::Host;
use xtask::kennel::Kennel;
use xtask::package::Package;

use crate::BASE_DOMAIN;
use crate::hosts::SETTINGS;
use crate::unbooted::Unbooted;

/// A package of an older version to begin with, instead of one of the same programs: a path.
const OLDER: &str = "KENNEL_TEST_OLDER_DEB";

/// Where packages lie on the host.
pub const PACKAGES: &str = "/srv/packages";

/// A booted Debian without Kennel.
#[derive(Debug)]
pub struct Bare {
    checkout: Checkout,
    host: Arc<Host>,
    /// A package, by its path on the host.
    pub older: String,
    /// One of the checkout, with a higher version.
    pub newer: String,
    /// The archive for systems without dpkg.
    pub tarball: String,
}

impl Bare {
    /// Boots one, with packages in [`PACKAGES`]. `label` tells it from others of this run.
    pub(crate) fn boot(label: &str) -> Result<Self> {
        let made = Unbooted::make(label)?;
        let Unbooted { checkout, product, host, .. } = &made;
        let folder = host.root().join(PACKAGES.trim_start_matches('/'));
        let package = |version: &str| Package::new(checkout, product, version).in_a_hurry();
        let older = match env::var_os(OLDER) {
            Some(path) => copied(Path::new(&path), &folder)?,
            None => package("0.0.1~older").deb(&folder)?,
        };
        let newer = package("99~newer").deb(&folder)?;
        let tarball = package("99~newer").tarball(&folder)?;
        let on_host = |path: PathBuf| -> Result<String> {
            let name = path.file_name().context("a package has a name")?;
            Ok(format!("{PACKAGES}/{}", name.to_string_lossy()))
        };
        let (checkout, host) = made.boot()?;
        let [older, newer, tarball] = [on_host(older)?, on_host(newer)?, on_host(tarball)?];
        Ok(Self { checkout, host, older, newer, tarball })
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A file of the checkout.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.checkout.root().join(path)
    }

    /// Kennel as the other tests know it; it must be installed.
    ///
    /// # Errors
    /// As [`Kennel::start`].
    pub fn kennel(&self) -> Result<Kennel> {
        Kennel::start(&self.checkout, Arc::clone(&self.host), BASE_DOMAIN, SETTINGS)
    }
}

fn copied(from: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(from.file_name().context("an older package has a name")?);
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    base::write(&to, bytes)?;
    Ok(to)
}
