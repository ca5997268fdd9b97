//! The base tree: a Debian 13 with everything that a Kennel host needs, and nothing of Kennel.
//!
//! Made once by mmdebstrap and kept under `target/`, under a name that changes with its recipe.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::checkout::Checkout;

const SUITE: &str = "trixie";

/// What an operator's host has, strace for whoever looks into it, a clock that can be set, a
/// certificate authority, and a name server.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "polkitd",
    "libnss-systemd",
    "libpam-systemd",
    "nix-bin",
    "nix-setup-systemd",
    "git",
    "ca-certificates",
    "busybox-static",
    "iproute2",
    "curl",
    "procps",
    "valkey-server",
    "postgresql",
    "strace",
    "libfaketime",
    "pebble",
    "knot",
];

/// Never read on a test host, and a third of what each host would copy.
const LEFT_OUT: &[&str] = &["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Would only make noise, or wait for hardware and networks that are not there.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty-static.service",
    "getty.target",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-pstore.service",
];

/// Installed for the tests that want them, which start them.
const NOT_STARTED: &[&str] = &["knot.service", "postgresql.service", "valkey-server.service"];

/// Files of the tree, each with its text.
const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "kennel\n"),
    ("etc/hosts", "127.0.0.1 localhost kennel\n::1 localhost kennel\n"),
    // As many hosts have one: Nix reads it too, from within a build's confinement.
    ("etc/gitconfig", "[init]\n\tdefaultBranch = main\n"),
    // A sandbox that quietly is none would hide what a build may see on a real host.
    (
        "etc/nix/nix.conf",
        "experimental-features = nix-command flakes\n\
         substituters =\n\
         sandbox = true\n\
         sandbox-fallback = false\n",
    ),
    // Tests read the journal after a reboot, and count on every line of it.
    (
        "etc/systemd/journald.conf.d/kennel-test.conf",
        "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nForwardToConsole=no\n",
    ),
];

/// The base tree of this checkout, made first if it is not there.
///
/// # Errors
/// When mmdebstrap is missing or fails; its own messages stand in the log that the error names.
pub fn ensure(checkout: &Checkout) -> Result<PathBuf> {
    let hosts = checkout.hosts();
    fs::create_dir_all(&hosts).with_context(|| format!("cannot make {}", hosts.display()))?;
    let _lock = lock(&hosts)?;
    let base = hosts.join(format!("base-{}", recipe_hash()));
    if base.is_dir() {
        return Ok(base);
    }
    remove_stale(&hosts)?;
    let unfinished = base.with_extension("unfinished");
    let log = hosts.join("mmdebstrap.log");
    println!("making the Debian tree once (about a minute; log: {})", log.display());
    debootstrap(&unfinished, &log)?;
    settle(&unfinished)?;
    fs::rename(&unfinished, &base)
        .with_context(|| format!("cannot rename {} to {}", unfinished.display(), base.display()))?;
    Ok(base)
}

/// Copies the base tree; sharing blocks where the file system can.
///
/// # Errors
/// When the copy fails, for want of space for example.
pub fn copy(base: &Path, root: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "--no-target-directory"])
        .args([base, root])
        .status()
        .context("cannot run cp")?;
    if !status.success() {
        bail!("cannot copy {} to {} ({status}); is the disk full?", base.display(), root.display());
    }
    Ok(())
}

/// Two runs at once make one tree.
fn lock(hosts: &Path) -> Result<File> {
    let path = hosts.join("base.lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn recipe_hash() -> String {
    let recipe = format!("{SUITE} {PACKAGES:?} {LEFT_OUT:?} {MASKED:?} {NOT_STARTED:?} {FILES:?}");
    let digest = hex::encode(Sha256::digest(recipe));
    digest.chars().take(12).collect()
}

/// Trees of earlier recipes and of runs that were killed. No host needs its base once copied.
fn remove_stale(hosts: &Path) -> Result<()> {
    for entry in fs::read_dir(hosts)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("base-") {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a tree, but never what is mounted in it.
///
/// # Errors
/// When something of it stays.
pub fn remove_tree(path: &Path) -> Result<()> {
    let status = Command::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(path)
        .status()
        .context("cannot run rm")?;
    if !status.success() {
        bail!("cannot remove {} ({status}); look for mounts below it", path.display());
    }
    Ok(())
}

fn debootstrap(root: &Path, log: &Path) -> Result<()> {
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = Command::new("mmdebstrap")
        .arg("--variant=minbase")
        .arg(format!("--include={}", PACKAGES.join(",")))
        .args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(SUITE)
        .arg(root)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .context("cannot run mmdebstrap; `apt-get install mmdebstrap`")?;
    if !status.success() {
        bail!("mmdebstrap failed ({status}); see {}", log.display());
    }
    Ok(())
}

/// What makes a fresh Debian a quiet, offline, inspectable host.
fn settle(root: &Path) -> Result<()> {
    for (path, text) in FILES {
        write(&root.join(path), text)?;
    }
    fs::create_dir_all(root.join("var/log/journal"))?;
    let system = root.join("etc/systemd/system");
    for unit in MASKED {
        let mask = system.join(unit);
        // Enabled ones may stand there as links.
        let _ = fs::remove_file(&mask);
        symlink("/dev/null", &mask).with_context(|| format!("cannot mask {unit}"))?;
    }
    for unit in NOT_STARTED {
        let link = system.join("multi-user.target.wants").join(unit);
        fs::remove_file(&link).with_context(|| format!("{unit} is not enabled in the tree"))?;
    }
    // The machine's own, which mmdebstrap copied. Every host gets its own id when it is made.
    for path in ["etc/resolv.conf", "etc/machine-id"] {
        let _ = fs::remove_file(root.join(path));
    }
    Ok(())
}

/// Writes a file of a tree, readable by all, with the folders above it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}
