//! The product, built and put into a root tree exactly as a package would.
//!
//! The repository is the install tree: what lies in `units/` goes where systemd looks for units,
//! and so on. Generated on the way are man pages and completions alone, from what the program's
//! own help and `docs/configuration.md` say ([`crate::manual`]); what the host runs is not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use crate::checkout::Checkout;
use crate::manual;

/// The programs that units start.
const SERVICES: &[&str] = &[
    "kennel-webhook",
    "kennel-dispatch",
    "kennel-build",
    "kennel-deploy",
    "kennel-router",
    "kennel-poll",
    "kennel-sweep",
    "kennel-api",
    "kennel-acme",
];

/// The programs that people type.
const COMMANDS: &[&str] = &["kennelctl"];

/// The feature that makes programs stop where a test says.
const KILL_POINTS: &str = "kennel-systemd/kill-points";

/// What the code of such a program holds: where it looks for what a test says.
const KILL_POINT_FILES: &str = "/etc/kennel-kill-points";

/// The programs that pass any of the points.
const WITH_KILL_POINTS: &[&str] =
    &["kennel-webhook", "kennel-api", "kennel-dispatch", "kennel-build", "kennel-deploy"];

/// Folders of the repository, and where the files in them go.
const FOLDERS: &[(&str, &str)] = &[
    ("units", "usr/lib/systemd/system"),
    ("tmpfiles.d", "usr/lib/tmpfiles.d"),
    ("sysusers.d", "usr/lib/sysusers.d"),
    ("polkit-1/rules.d", "usr/share/polkit-1/rules.d"),
];

/// How the programs are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Optimised, without the minutes that LTO takes: for tests and the demo.
    Quick,
    /// The same with named points at which a test can hold and kill them: for the end-to-end suite.
    Test,
    /// What is shipped.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Quick | Self::Test => "quick",
            Self::Release => "release",
        }
    }
}

/// Where shells of a system look for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Debian's zsh leaves `site-functions` to the administrator.
    Debian,
    /// Any other.
    Other,
}

/// The compiled product.
#[derive(Debug)]
pub struct Product {
    checkout: Checkout,
    programs: Vec<Program>,
}

impl Product {
    /// Compiles it.
    ///
    /// # Errors
    /// When cargo fails; its own messages have been shown.
    pub fn build(checkout: &Checkout, profile: Profile) -> Result<Self> {
        let packages: Vec<&str> = SERVICES.iter().chain(COMMANDS).copied().collect();
        let programs = cargo(checkout, profile, &packages)?;
        for program in &programs {
            check_kill_points(program, profile)?;
        }
        Ok(Self { checkout: checkout.clone(), programs })
    }

    /// Installs it below `root`, whatever system that is.
    ///
    /// # Errors
    /// When `root` cannot be written.
    pub fn install(&self, root: &Path) -> Result<()> {
        let debian = root.join("etc/debian_version").exists();
        self.install_as(root, if debian { System::Debian } else { System::Other })
    }

    /// Installs it below `root`.
    ///
    /// # Errors
    /// When `root` cannot be written.
    pub fn install_as(&self, root: &Path, system: System) -> Result<()> {
        for program in &self.programs {
            let command = COMMANDS.contains(&program.name.as_str());
            let folder = if command { "usr/bin" } else { "usr/lib/kennel" };
            put(&program.path, &root.join(folder).join(&program.name), 0o755)?;
        }
        for (folder, to) in FOLDERS {
            put_folder(&self.checkout.root().join(folder), &root.join(to))?;
        }
        self.manual(&root.join("usr/share/man"))?;
        self.completions(root, system)
    }

    /// Writes the man pages below `directory`, in `man1` and so on.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn manual(&self, directory: &Path) -> Result<()> {
        manual::write(self.checkout.root(), self.kennelctl()?, directory)
    }

    /// Writes completions for bash, zsh and fish into one directory.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn completions_into(&self, directory: &Path) -> Result<()> {
        manual::generate(self.kennelctl()?, "completions", directory)
    }

    /// Puts completions where each shell of the tree looks.
    fn completions(&self, root: &Path, system: System) -> Result<()> {
        let made = self.checkout.target().join("completions");
        self.completions_into(&made)?;
        let zsh = match system {
            System::Debian => "vendor-completions",
            System::Other => "site-functions",
        };
        for (file, to) in [
            ("kennelctl", "usr/share/bash-completion/completions"),
            ("_kennelctl", &format!("usr/share/zsh/{zsh}")),
            ("kennelctl.fish", "usr/share/fish/vendor_completions.d"),
        ] {
            put(&made.join(file), &root.join(to).join(file), 0o644)?;
        }
        Ok(())
    }

    fn kennelctl(&self) -> Result<&Path> {
        let program = self.programs.iter().find(|program| program.name == "kennelctl");
        Ok(&program.context("kennelctl was not built")?.path)
    }
}

/// What the postinst of a package does to a tree that is not booted: the users.
/// Folders and units come by themselves at the next boot.
///
/// # Errors
/// When systemd-sysusers of the tree fails.
pub fn make_users(root: &Path) -> Result<()> {
    let output = Command::new("chroot")
        .arg(root)
        .arg("systemd-sysusers")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .context("cannot run chroot")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("systemd-sysusers refuses what sysusers.d/ says: {}", said.trim());
    }
    Ok(())
}

/// Compiles one program of it, and says where it lies.
///
/// # Errors
/// When cargo fails; its own messages have been shown.
pub fn program(checkout: &Checkout, profile: Profile, name: &str) -> Result<PathBuf> {
    let programs = cargo(checkout, profile, &[name])?;
    let program = programs.into_iter().next().with_context(|| format!("{name} was not built"))?;
    Ok(program.path)
}

#[derive(Debug)]
struct Program {
    name: String,
    path: PathBuf,
}

fn cargo(checkout: &Checkout, profile: Profile, packages: &[&str]) -> Result<Vec<Program>> {
    let mut child = Command::new("cargo")
        .args(["build", "--profile", profile.name()])
        .args(["--message-format", "json-render-diagnostics"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(features(profile))
        .current_dir(checkout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut programs = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            programs.extend(executable(&line?));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("cargo build failed ({status}); its messages stand above");
    }
    if programs.len() < packages.len() {
        bail!("cargo built {} programs of {}: {packages:?}", programs.len(), packages.len());
    }
    Ok(programs)
}

fn features(profile: Profile) -> &'static [&'static str] {
    match profile {
        Profile::Test => &["--package", "kennel-systemd", "--features", KILL_POINTS],
        Profile::Quick | Profile::Release => &[],
    }
}

/// Whoever could write the files that hold a program could stop it for ever: none of this may be in
/// what is shipped, and all of it must be in what is tested.
fn check_kill_points(program: &Program, profile: Profile) -> Result<()> {
    let code = fs::read(&program.path)
        .with_context(|| format!("cannot read {}", program.path.display()))?;
    let marker = KILL_POINT_FILES.as_bytes();
    let has = code.windows(marker.len()).any(|bytes| bytes == marker);
    let wanted = match profile {
        Profile::Test => WITH_KILL_POINTS.contains(&program.name.as_str()),
        Profile::Quick | Profile::Release => false,
    };
    if has != wanted {
        let with = if has { "with" } else { "without" };
        bail!("{} was built {with} the points at which tests kill it", program.path.display());
    }
    Ok(())
}

/// The program that a line of cargo's output says was made. The path is cargo's own word, since
/// target directory and profile may both be set elsewhere.
fn executable(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    let name = message.pointer("/target/name")?.as_str()?.to_owned();
    let wanted = SERVICES.iter().chain(COMMANDS).any(|program| *program == name);
    wanted.then_some(Program { name, path })
}

fn put_folder(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            put_folder(&entry.path(), &target)?;
        } else {
            put(&entry.path(), &target, 0o644)?;
        }
    }
    Ok(())
}

/// Under a temporary name and renamed over the old one: a program that runs stays what it is.
fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let put = || -> std::io::Result<()> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut new = to.as_os_str().to_owned();
        new.push(".new");
        fs::copy(from, &new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
        fs::rename(&new, to)
    };
    put().with_context(|| format!("cannot install {} as {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_programs_of_the_product_from_cargos_messages_and_nothing_else() {
        let line = |name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}"}},
                    "executable":"/t/quick/{name}"}}"#
            )
        };
        let program = executable(&line("kennelctl")).unwrap();
        assert_eq!(program.name, "kennelctl");
        assert_eq!(program.path, Path::new("/t/quick/kennelctl"));
        assert!(executable(&line("build-script-build")).is_none());
        assert!(executable(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
