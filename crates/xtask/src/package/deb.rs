//! A package of Debian's, out of `packaging/debian/`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Package, empty, run};
use crate::base;
use crate::product::System;

/// What runs when the package comes and goes.
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

pub(super) fn make(package: &Package<'_>, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let root = empty(folder.join("tree"))?;
    package.product.install_as(&root, System::Debian)?;
    for page in files_below(&root.join("usr/share/man"))? {
        gzip(&page)?;
    }
    documents(package, &root.join("usr/share/doc/kennel"))?;

    let architecture = run(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let files = files_below(&root)?;
    let control = root.join("DEBIAN");
    let sums = sums(&root, &files)?;
    base::write(&control.join("md5sums"), sums)?;
    let size = size_in_kib(&files)?.to_string();
    let text = package
        .file("packaging/debian/control")?
        .replace("@VERSION@", &package.version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@INSTALLED_SIZE@", &size)
        .replace("@LIBC@", &needed_libc(&root)?);
    base::write(&control.join("control"), text)?;
    for script in SCRIPTS {
        let path = control.join(script);
        base::write(&path, package.file(&format!("packaging/debian/{script}"))?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for path in folders_below(&root)? {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let deb = folder.join(format!("kennel_{}_{architecture}.deb", package.version));
    run(Command::new("dpkg-deb")
        .args(package.compression.deb)
        .args(["--root-owner-group", "--build"])
        .arg(&root)
        .arg(&deb))?;
    base::remove_tree(&root)?;
    Ok(deb)
}

/// Licence and changelog, as policy wants them (Debian Policy §12.5, §12.7).
fn documents(package: &Package<'_>, folder: &Path) -> Result<()> {
    let mut mit = String::new();
    // A paragraph that goes on is indented, and an empty line in it is a dot.
    for line in package.file("LICENSE-MIT")?.lines().skip(4) {
        writeln!(mit, " {}", if line.is_empty() { "." } else { line })?;
    }
    let copyright = package.file("packaging/debian/copyright")?.replace("@MIT@\n", &mit);
    base::write(&folder.join("copyright"), copyright)?;
    let date = run(Command::new("date").args(["--rfc-email", "--utc"]))?;
    let changes = folder.join("changelog");
    base::write(
        &changes,
        format!(
            "kennel ({}) unstable; urgency=medium\n\n  * What has changed is in the repository's \
             history:\n    https://github.com/kennel-deploy/kennel/commits\n\n -- Kennel \
             developers <kennel-deploy@users.noreply.github.com>  {date}",
            package.version
        ),
    )?;
    gzip(&changes)
}

/// Without name and time, so that the same tree makes the same package.
fn gzip(file: &Path) -> Result<()> {
    run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(file)).map(drop)
}

/// The newest version of the C library that any program asks for.
fn needed_libc(root: &Path) -> Result<String> {
    let mut newest = (2, 17);
    let programs = files_below(&root.join("usr/lib/kennel"))?;
    for program in programs.into_iter().chain([root.join("usr/bin/kennelctl")]) {
        newest = newest.max(versions_in(&fs::read(&program)?).max().unwrap_or(newest));
    }
    Ok(format!("{}.{}", newest.0, newest.1))
}

/// The versions of symbols, which stand in a program as text: `GLIBC_2.34`.
fn versions_in(program: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    const MARKER: &[u8] = b"GLIBC_";
    let starts = program.windows(MARKER.len()).enumerate().filter(|(_, it)| *it == MARKER);
    starts.filter_map(|(at, _)| {
        let text = program.get(at + MARKER.len()..)?.split(|&byte| byte == 0).next()?;
        let (major, minor) = std::str::from_utf8(text).ok()?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn sums(root: &Path, files: &[PathBuf]) -> Result<String> {
    let mut child = Command::new("xargs")
        .args(["-0", "md5sum", "--"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run xargs")?;
    if let Some(mut stdin) = child.stdin.take() {
        for file in files {
            stdin.write_all(file.strip_prefix(root)?.as_os_str().as_encoded_bytes())?;
            stdin.write_all(b"\0")?;
        }
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("md5sum failed ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Each file in whole KiB, as Debian Policy §5.6.20 counts.
fn size_in_kib(files: &[PathBuf]) -> Result<u64> {
    files.iter().map(|file| Ok(fs::symlink_metadata(file)?.size().div_ceil(1024))).sum()
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    found_below(folder, &["-not", "-type", "d"])
}

fn folders_below(folder: &Path) -> Result<Vec<PathBuf>> {
    found_below(folder, &["-type", "d"])
}

fn found_below(folder: &Path, which: &[&str]) -> Result<Vec<PathBuf>> {
    let found = run(Command::new("find").arg(folder).args(which))?;
    let mut paths: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_counts_as_a_number() {
        let program = b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(versions_in(program).max(), Some((2, 34)));
        assert_eq!(versions_in(b"static").max(), None);
    }
}
