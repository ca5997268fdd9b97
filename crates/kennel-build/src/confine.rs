//! The fence around git and Nix: Landlock (landlock(7)).
//!
//! A flake may name `git+file:///var/lib/kennel/repos/other.git` as an input, and Nix reads it as
//! the user who runs it. So every child first confines itself to the host's programs, the store and
//! its own project's files, and then becomes git or Nix. It is a program of its own rather than a
//! hook between fork and exec, so that it needs no `unsafe` and inherits no open database.
//!
//! Unix sockets stay reachable by path: the way to the Nix daemon is one, and kernels before 7.1
//! cannot tell them apart. Kennel's own sockets are kept away by their owners and modes.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};

/// What one child may see besides the host's programs and the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fence {
    /// May be read and executed, with everything below.
    pub read: Vec<PathBuf>,
    /// May be changed too. Each must exist.
    pub write: Vec<PathBuf>,
}

/// The newest rules that were tried. Older kernels apply those that they know.
///
/// Not V9: it would close Unix sockets, and the Nix daemon's is one.
const KNOWN: ABI = ABI::V7;

/// Programs and what they are made of. Missing ones are passed over: no host has all of them.
const PROGRAMS: [&str; 8] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/run/current-system/sw"];

/// What git, ssh, curl and Nix read in order to work at all. /etc is not here as a whole, since
/// Landlock cannot take /etc/kennel out of it again.
const SETTINGS: [&str; 29] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    // Nix reads these two with a library of its own, which takes "permission denied" for fatal.
    "/etc/gitattributes",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/nix",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssh/ssh_config",
    "/etc/ssh/ssh_config.d",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssl",
    "/etc/static",
    // Where resolv.conf leads on most hosts; it is replaced while a build runs.
    "/run/systemd/resolve",
    // A process's own view of itself. Others' memory and environment stay closed: Landlock lets
    // nobody trace a process outside.
    "/proc",
];

const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// A child could not be confined, or not be started, and did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Builds of strangers' code do not run without it.
    #[error(
        "this kernel has no Landlock, and builds do not run unconfined; boot Linux 5.13 or newer with `landlock` in its lsm= list"
    )]
    Unsupported,
    /// A directory that it was to change is not there.
    #[error("cannot open {} to confine a program to it", .path.display())]
    Open {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: landlock::PathFdError,
    },
    /// The kernel refused the rules.
    #[error("cannot confine a program")]
    Rules(#[from] landlock::RulesetError),
    /// The kernel refused to end it together with its parent.
    #[error("cannot tie a program to its parent")]
    Tie(#[from] rustix::io::Errno),
    /// There is no such program.
    #[error("cannot start {}; is it installed, and in the PATH of kennel-build@.service?", .program.display())]
    Start {
        /// Which one.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ConfineError {
    /// What a child exits with that never became its program: neither git nor Nix uses it.
    pub const EXIT_STATUS: u8 = 86;
}

/// Confines this process and becomes `program`. Comes back only with the reason why not.
///
/// The program is killed when the thread that started this process ends: systemd need not wait for
/// it.
#[must_use]
pub fn confine(fence: &Fence, program: &[OsString]) -> ConfineError {
    match enforce(fence) {
        Ok(()) => {}
        Err(error) => return error,
    }
    let mut words = program.iter();
    let name = words.next().cloned().unwrap_or_default();
    let source = Command::new(&name).args(words).exec();
    ConfineError::Start { program: name.into(), source }
}

/// Whether this kernel can confine anything.
///
/// # Errors
/// [`ConfineError::Unsupported`] if it cannot.
pub(crate) fn check_supported() -> Result<(), ConfineError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .map(drop)
        .map_err(|_unsupported| ConfineError::Unsupported)
}

fn enforce(fence: &Fence) -> Result<(), ConfineError> {
    // Kept over exec, since nothing here changes identity (prctl(2), PR_SET_PDEATHSIG).
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let read = AccessFs::from_read(KNOWN);
    let write = AccessFs::from_all(KNOWN);
    let device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(PROGRAMS, read))?
        .add_rules(path_beneath_rules(SETTINGS, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(&fence.read, read))?;
    for path in &fence.write {
        rules = rules.add_rule(PathBeneath::new(open(path)?, write))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err(ConfineError::Unsupported),
    }
}

fn open(path: &Path) -> Result<PathFd, ConfineError> {
    PathFd::new(path).map_err(|source| ConfineError::Open { path: path.into(), source })
}
