//! An archive for systems without dpkg: the tree, and `packaging/install.sh` beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Package, empty, run};
use crate::base;
use crate::product::System;

pub(super) fn make(package: &Package<'_>, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name = format!("kennel-{}-{}", package.version, std::env::consts::ARCH);
    let top = empty(folder.join(&name))?;
    package.product.install_as(&top.join("tree"), System::Other)?;
    let script = top.join("install.sh");
    base::write(&script, package.file("packaging/install.sh")?)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        base::write(&top.join(file), package.file(file)?)?;
    }
    let archive = folder.join(format!("{name}.{}", package.compression.suffix));
    run(Command::new("tar")
        .args(["--create", "--owner=root:0", "--group=root:0", "--sort=name"])
        .args(["--use-compress-program", package.compression.tar])
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(folder)
        .arg(&name))?;
    base::remove_tree(&top)?;
    Ok(archive)
}
