//! A test host: a Debian tree with the product in it, booted by systemd-nspawn or by qemu.
//!
//! Everything that makes one recognisable lies in its folder `target/host/<name>/`, so that
//! another run of `xtask`, or the next one after a crash, can enter it or end it:
//!
//! | file | holds |
//! |---|---|
//! | `root/` | the tree; a virtual machine has `disk.img` instead |
//! | `process` | the systemd-nspawn or qemu that runs it |
//! | `owner` | the process without which it should not run; absent when a person started it |
//! | `console.log` | what it said while booting |

mod cgroup;
mod exec;
mod leader;
mod making;
mod registry;
pub mod vm;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

pub use exec::{Failed, Output, exit_code};
pub use making::{Kind, Making, Owner};
pub use registry::{Listed, disown, end_abandoned, end_own, list};

use crate::base;
use crate::checkout::Checkout;
use crate::netns::Netns;
use crate::process::ProcessId;
use cgroup::Cgroup;

/// Clean shutdowns take one to three seconds; after this the host is cut off.
const POWEROFF_LIMIT: Duration = Duration::from_secs(15);

/// Boots take two to five seconds; a machine that compiles meanwhile needs more.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// One named host.
#[derive(Debug)]
pub struct Host {
    name: String,
    dir: PathBuf,
    kind: Kind,
    /// The systemd-nspawn or qemu that this very process started, which it must also reap.
    child: Mutex<Option<Child>>,
}

impl Host {
    /// The host of this name, running or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(checkout: &Checkout, name: &str) -> Result<Self> {
        let host = Self::at(checkout, name)?;
        if !host.dir.is_dir() {
            bail!("there is no host {name}; `cargo xtask host up --name {name}` makes it");
        }
        Ok(host)
    }

    fn at(checkout: &Checkout, name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // `base-` is how the base trees beside the hosts are called; the limit is what a machine
        // name may have, with our prefix.
        if name.is_empty()
            || name.len() > 40
            || !name.chars().all(fits)
            || name.starts_with("base-")
        {
            bail!("{name:?} is no name for a host: use a-z, 0-9 and `-`, at most 40");
        }
        let dir = checkout.hosts().join(name);
        let kind = if vm::disk(&dir).is_file() { Kind::Machine } else { Kind::Container };
        Ok(Self { name: name.to_owned(), dir, kind, child: Mutex::new(None) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tree, which can be read and written from outside while it runs. A virtual machine has
    /// none: see [`Host::read`] and [`Host::write`].
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Starts systemd in the tree and waits until it has finished booting.
    ///
    /// # Errors
    /// When it does not come up; the error holds the end of the console.
    pub fn boot(&self) -> Result<Booted> {
        let started = Instant::now();
        let console = self.dir.join("console.log");
        let output = File::create(&console)
            .with_context(|| format!("cannot write {}", console.display()))?;
        let command = match self.kind {
            Kind::Container => self.nspawn_command(),
            Kind::Machine => {
                vm::disconnect(&self.dir)?;
                vm::command(&vm::ensure_layer(&Checkout::find()?)?, &self.dir)?
            }
        };
        let process = registry::unless_ended(|| {
            let child = cgroup::spawn_in(&self.cgroup_name(), &command)?
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
                .with_context(|| format!("cannot run {:?}", command.first()))?;
            let process = ProcessId::of(i32::try_from(child.id())?)?;
            *self.child() = Some(child);
            process.write(&self.dir.join("process"))?;
            Ok(process)
        })?;
        let booted = self.wait_until_booted(process, started).and_then(|state| {
            Ok(Booted { failed_units: self.failed_units()?, state, took: started.elapsed() })
        });
        booted.with_context(|| {
            format!("host {} did not boot; the end of its console:\n{}", self.name, tail(&console))
        })
    }

    /// Ends it as `systemctl poweroff` does, or cuts it off when that takes over 15 s.
    ///
    /// # Errors
    /// When processes of it stay.
    pub fn poweroff(&self) -> Result<()> {
        if let Some(process) = self.process() {
            let limit = match self.kind {
                Kind::Container => {
                    // systemd-nspawn passes it on as a request to halt.
                    process.signal(Signal::TERM);
                    POWEROFF_LIMIT
                }
                Kind::Machine => {
                    // The connection may end before the answer comes.
                    let _ = self.try_run(&["systemctl", "poweroff"]);
                    vm::POWEROFF_LIMIT
                }
            };
            if !self.has_ended(process, limit) {
                println!("host {} does not shut down, cutting it off", self.name);
            }
        }
        self.kill()
    }

    /// Pulls the plug: every process ends at once, the tree stays as it is.
    ///
    /// # Errors
    /// When processes of it stay.
    pub fn kill(&self) -> Result<()> {
        // Its cgroup holds all of them, also after systemd-nspawn itself has died.
        let cgroup = self.cgroup();
        if let Some(cgroup) = &cgroup {
            cgroup.kill();
        }
        if let Some(process) = self.process() {
            process.signal(Signal::KILL);
            if !self.has_ended(process, POWEROFF_LIMIT) {
                bail!("host {} cannot be ended: process {} stays", self.name, process.pid());
            }
        }
        if let Some(cgroup) = &cgroup {
            cgroup.remove()?;
        }
        if let Some(mut child) = self.child().take() {
            let _ = child.wait();
        }
        self.forget_mounts();
        let _ = fs::remove_file(self.dir.join("process"));
        Ok(())
    }

    /// Shuts it down and boots the same tree again; `/run` is empty afterwards.
    ///
    /// # Errors
    /// Those of [`Host::poweroff`] and [`Host::boot`].
    pub fn reboot(&self) -> Result<Booted> {
        self.poweroff()?;
        self.boot()
    }

    /// Ends it and removes everything of it.
    ///
    /// # Errors
    /// When something stays.
    pub fn down(&self) -> Result<()> {
        self.poweroff()?;
        self.remove()
    }

    /// Like [`Host::down`], without asking the host first.
    ///
    /// # Errors
    /// When something stays.
    pub fn destroy(&self) -> Result<()> {
        self.kill()?;
        self.remove()
    }

    /// Whether its systemd-nspawn or qemu runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Whether it is a container or a virtual machine.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads a file of it, running or not; a virtual machine only while it runs.
    ///
    /// # Errors
    /// When there is no such file, or the virtual machine does not run.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.kind {
            Kind::Container => {
                let path = self.root().join(path);
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
            }
            Kind::Machine => {
                let mut cat = self.command(&["cat", &format!("/{path}")])?;
                let output = cat.stdin(Stdio::null()).output().context("cannot run ssh")?;
                if !output.status.success() {
                    bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
                }
                Ok(output.stdout)
            }
        }
    }

    /// Writes a file of it, readable by all, with the folders above it; a virtual machine only
    /// while it runs.
    ///
    /// # Errors
    /// When it cannot be written, or the virtual machine does not run.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        match self.kind {
            Kind::Container => base::write(&self.root().join(path), text),
            Kind::Machine => {
                let install = ["install", "-D", "-m", "644", "/dev/stdin", &format!("/{path}")];
                self.run_with_input(&install, text.as_ref()).map(drop)
            }
        }
    }

    /// Its network, for connections from outside. Of a virtual machine only port 80 is in it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn netns(&self) -> Result<Netns> {
        Netns::of(self.leader()?)
    }

    /// A path of the host as this machine sees it while the host runs, `/run` and its sockets
    /// among them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn path(&self, path: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root{path}", self.leader()?)))
    }

    /// The units that failed, as `systemctl --failed` calls them.
    ///
    /// # Errors
    /// When systemd cannot be asked.
    pub fn failed_units(&self) -> Result<Vec<String>> {
        let units = self.run(&["systemctl", "--failed", "--plain", "--no-legend"])?;
        Ok(units
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(Into::into)
            .collect())
    }

    fn remove(&self) -> Result<()> {
        if self.dir.exists() {
            base::remove_tree(&self.dir)?;
        }
        Ok(())
    }

    /// What systemd-nspawn leaves when it is killed, and refuses to boot over.
    fn forget_mounts(&self) {
        for folder in ["propagate", "unix-export"] {
            let path = Path::new("/run/systemd/nspawn").join(folder).join(self.machine());
            if path.is_dir() {
                // From systemd 256 on some of them are mount points.
                let _ = Command::new("umount")
                    .args(["--lazy", "--quiet"])
                    .arg(&path)
                    .stderr(Stdio::null())
                    .status();
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    fn nspawn_command(&self) -> Vec<String> {
        let mut command: Vec<String> = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            // Works without machined, and inside of whatever cgroup it is started in.
            "--register=no",
            "--keep-unit",
            "--private-network",
            // The machine's own settings are none of the host's.
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            // Its own filter refuses Landlock, which every real host has.
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
        ]
        .map(String::from)
        .to_vec();
        command.push(format!("--machine={}", self.machine()));
        command.push(format!("--directory={}", self.root().display()));
        command
    }

    fn owner_file(&self) -> PathBuf {
        self.dir.join("owner")
    }

    fn machine(&self) -> String {
        format!("kennel-{}", self.name)
    }

    /// Two checkouts on one machine may both have a host of this name.
    fn cgroup_name(&self) -> String {
        use sha2::{Digest, Sha256};
        let place = hex::encode(Sha256::digest(self.dir.as_os_str().as_encoded_bytes()));
        format!("kennel-host-{}-{}", self.name, place.get(..8).unwrap_or_default())
    }

    fn cgroup(&self) -> Option<Cgroup> {
        Cgroup::find(&self.cgroup_name())
    }

    fn process(&self) -> Option<ProcessId> {
        ProcessId::read(&self.dir.join("process")).filter(|process| process.is_alive())
    }

    /// A process in its namespaces; of a virtual machine it is the one that holds its network.
    fn leader(&self) -> Result<i32> {
        let of = |process| match self.kind {
            Kind::Container => leader::of(process),
            Kind::Machine => Some(process.pid()),
        };
        self.process().and_then(of).with_context(|| {
            format!("host {} is not running; `cargo xtask host up` boots it", self.name)
        })
    }

    fn has_ended(&self, process: ProcessId, limit: Duration) -> bool {
        let ended = process.wait(limit);
        if ended && let Some(mut child) = self.child().take() {
            let _ = child.wait();
        }
        ended
    }

    fn wait_until_booted(&self, process: ProcessId, started: Instant) -> Result<String> {
        let limit = match self.kind {
            Kind::Container => BOOT_LIMIT,
            Kind::Machine => vm::BOOT_LIMIT,
        };
        let mut state = String::from("no PID 1 yet");
        while started.elapsed() < limit {
            if !process.is_alive() {
                bail!("what runs it has ended");
            }
            // Fails while PID 1 does not listen yet, and waits for the end of the boot once it does.
            if self.can_be_entered(process)
                && let Ok(output) = self.try_run(&["systemctl", "is-system-running", "--wait"])
            {
                state = output.stdout.trim().to_owned();
                if state == "running" || state == "degraded" {
                    return Ok(state);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("it is {state:?} after {} s", limit.as_secs());
    }

    fn can_be_entered(&self, process: ProcessId) -> bool {
        match self.kind {
            Kind::Container => leader::of(process).is_some(),
            Kind::Machine if vm::is_connected(&self.dir) => true,
            Kind::Machine => self.cgroup().and_then(|it| it.of_the_first()).is_some_and(|cgroup| {
                let mut ssh = vm::connect(&self.dir, process.pid(), &cgroup);
                registry::unless_ended(|| Ok(ssh.spawn()?))
                    .is_ok_and(|mut ssh| ssh.wait().is_ok_and(|status| status.success()))
            }),
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a boot.
#[derive(Clone, Debug)]
pub struct Booted {
    /// `running`, or `degraded` when units failed.
    pub state: String,
    /// The units that failed.
    pub failed_units: Vec<String>,
    /// From starting systemd-nspawn or qemu until every job of the boot was done.
    pub took: Duration,
}

fn tail(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}
