//! What the machine must have: Debian's packages, installed when root asks.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A file that a package brings, and the package.
const NEEDS: &[(&str, &str)] = &[
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/bin/nsenter", "util-linux"),
    ("/usr/bin/git", "git"),
    ("/usr/bin/cc", "gcc"),
    ("/usr/bin/pkg-config", "pkg-config"),
    // Read man pages, packages and scripts with a linter's eye.
    ("/usr/bin/mandoc", "mandoc"),
    ("/usr/bin/lintian", "lintian"),
    ("/usr/bin/shellcheck", "shellcheck"),
    // Also what a static sample program is linked with.
    ("/usr/include/stdlib.h", "libc6-dev"),
];

/// What virtual machines need besides.
const VM_NEEDS: &[(&str, &str)] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/ssh", "openssh-client"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/mke2fs", "e2fsprogs"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// What the router is measured with and beside.
const ROUTER_BENCH_NEEDS: &[(&str, &str)] = &[
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/bin/wrk", "wrk"),
    ("/usr/bin/h2load", "nghttp2-client"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/unshare", "util-linux"),
];

/// What fuzz targets are linked with.
const FUZZ_NEEDS: &[(&str, &str)] = &[("/usr/bin/c++", "g++")];

/// The packages that are missing.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    of(NEEDS)
}

/// Installs what is missing; returns what that was.
///
/// # Errors
/// When this is not root, or apt fails. Both say what to install.
pub fn install() -> Result<Vec<&'static str>> {
    install_packages(missing())
}

/// As [`install`], for hosts that qemu boots.
///
/// # Errors
/// As [`install`].
pub fn install_for_vm() -> Result<Vec<&'static str>> {
    install_packages(of(VM_NEEDS))
}

/// As [`install`], for the measurement of the router.
///
/// # Errors
/// As [`install`].
pub fn install_for_router_bench() -> Result<Vec<&'static str>> {
    install_packages(of(ROUTER_BENCH_NEEDS))
}

/// As [`install`], for fuzz targets.
///
/// # Errors
/// As [`install`].
pub fn install_for_fuzzing() -> Result<Vec<&'static str>> {
    install_packages(of(FUZZ_NEEDS))
}

fn of(needs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let missing = needs.iter().filter(|(file, _)| !Path::new(file).exists());
    missing.map(|(_, package)| *package).collect()
}

fn install_packages(missing: Vec<&'static str>) -> Result<Vec<&'static str>> {
    if missing.is_empty() {
        return Ok(missing);
    }
    let list = missing.join(" ");
    if rustix::process::geteuid().as_raw() != 0 {
        bail!("this machine lacks: {list}\nas root: apt-get install {list}");
    }
    println!("installing {list} with apt");
    // Lists may be old or, in a fresh container, absent; a failed update need not matter.
    let _ = apt(&["update"]);
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    if !apt(&install)? {
        bail!("apt-get cannot install {list}; what it says stands above");
    }
    Ok(missing)
}

fn apt(args: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        // A line for every package that a package needs; what goes wrong is on the other stream.
        .stdout(Stdio::null())
        .status()
        .context("cannot run apt-get; on other systems than Debian install the packages by hand")?;
    Ok(status.success())
}
