//! The cgroup of one host.
//!
//! systemd-nspawn with `--keep-unit` makes `payload` and `supervisor` inside the cgroup that it
//! is started in: two hosts started from one cgroup would share them, and each PID 1 would take
//! the other's services for its own. It is also what finds every process of a host again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// One host's cgroup in the unified hierarchy.
#[derive(Debug)]
pub(super) struct Cgroup {
    /// The same cgroup in every hierarchy that systemd uses; the unified one first.
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// The cgroup of this name, if it is there.
    pub(super) fn find(name: &str) -> Option<Self> {
        let dirs: Vec<PathBuf> = hierarchies()
            .iter()
            .flat_map(|root| [root.join(name), root.join(format!("system.slice/{name}.scope"))])
            .filter(|dir| dir.is_dir())
            .collect();
        (!dirs.is_empty()).then_some(Self { dirs })
    }

    /// Where processes that are sent into the host belong: below its PID 1's own cgroup.
    pub(super) fn for_visitors(&self) -> Option<PathBuf> {
        let dir = self.dirs.first()?.join("payload/kennel-exec");
        fs::create_dir_all(&dir).ok()?;
        Some(dir)
    }

    /// Where the host's own first process is.
    pub(super) fn of_the_first(&self) -> Option<PathBuf> {
        self.dirs.first().cloned()
    }

    /// Ends every process in it, and those that they start meanwhile.
    pub(super) fn kill(&self) {
        for dir in &self.dirs {
            if fs::write(dir.join("cgroup.kill"), "1").is_err() {
                // Hierarchies of version 1, and kernels before 5.14.
                for pid in processes(dir) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }

    /// Removes it once its last process is gone.
    pub(super) fn remove(&self) -> Result<()> {
        for _ in 0..500 {
            if self.dirs.iter().all(|dir| remove_dirs(dir)) {
                return Ok(());
            }
            self.kill();
            thread::sleep(Duration::from_millis(10));
        }
        let left: Vec<Pid> = self.dirs.iter().flat_map(|dir| processes(dir)).collect();
        bail!("these processes of the host do not end: {left:?}");
    }
}

/// A command that runs `argv` inside a new cgroup of this name, in a process group of its own so
/// that Ctrl-C in a terminal does not reach it.
pub(super) fn spawn_in(name: &str, argv: &[String]) -> Result<Command> {
    use std::os::unix::process::CommandExt;
    // The cgroup tree of a machine with systemd is systemd's: it hands out a part of it.
    let mut command = if Path::new("/run/systemd/system").is_dir() {
        let mut command = Command::new("systemd-run");
        command.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes"]);
        command.arg(format!("--unit={name}")).arg("--");
        command
    } else {
        let mut dirs = String::new();
        for root in hierarchies() {
            let dir = root.join(name);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            dirs.push_str(&format!("{} ", dir.display()));
        }
        let mut command = Command::new("/bin/sh");
        command.arg("-ec").arg("for dir in $0; do echo $$ >$dir/cgroup.procs; done; exec \"$@\"");
        command.arg(dirs);
        command
    };
    command
        .args(argv)
        .env_clear()
        .env("PATH", super::exec::PATH)
        // A machine of the hybrid kind would otherwise give the host cgroups of version 1.
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .process_group(0);
    Ok(command)
}

/// The mount points of the hierarchies that systemd puts processes in: the unified one, and on
/// hybrid machines the named one of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<(bool, PathBuf)> = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let (at, kind, options) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
            let named = *kind == "cgroup" && options.split(',').any(|o| o == "name=systemd");
            (*kind == "cgroup2" || named).then(|| (named, PathBuf::from(at)))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn processes(dir: &Path) -> Vec<Pid> {
    let mut pids: Vec<Pid> = fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect();
    for child in children(dir) {
        pids.extend(processes(&child));
    }
    pids
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Whether the cgroup and all below it are gone.
fn remove_dirs(dir: &Path) -> bool {
    for child in children(dir) {
        remove_dirs(&child);
    }
    fs::remove_dir(dir).is_ok() || !dir.exists()
}
