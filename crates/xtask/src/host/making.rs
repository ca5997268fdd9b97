//! Making a host: a copy of the base tree, with the product in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use super::{Host, registry, vm};
use crate::base;
use crate::checkout::Checkout;
use crate::process::ProcessId;
use crate::product::{self, Product, Profile};

/// Who ends a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process: should it die without doing so, the host counts as abandoned.
    ThisProcess,
    /// Whoever types `host down`.
    Person,
}

/// What boots a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// systemd-nspawn, on this machine's kernel: up in seconds, but without cgroup controllers
    /// where the machine itself is a container.
    #[default]
    Container,
    /// qemu, with Debian's kernel: where limits act.
    Machine,
}

/// How a host is made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// Who ends it.
    pub owner: Owner,
    /// The build of the product that is installed; `None` for a bare Debian.
    pub product: Option<Profile>,
    /// What boots it.
    pub kind: Kind,
    /// Takes the tree that an earlier host of this name left, if there is one.
    pub keep_tree: bool,
}

impl Host {
    /// Makes the tree of a host, without booting it.
    ///
    /// # Errors
    /// When the name is taken by a running host, the product does not build, or the disk is full.
    pub fn make(checkout: &Checkout, name: &str, making: Making) -> Result<Self> {
        if rustix::process::geteuid().as_raw() != 0 {
            bail!("a host is made and booted by root; run this again with sudo");
        }
        let mut host = Self::at(checkout, name)?;
        if making.keep_tree && (making.kind, host.kind) != (Kind::Container, Kind::Container) {
            bail!("the disk of a virtual machine is always made anew; leave out --keep");
        }
        if host.process().is_some() {
            bail!("host {name} is already running; `cargo xtask host down --name {name}` ends it");
        }
        if let Some(owner) = ProcessId::read(&host.owner_file()).filter(|owner| owner.is_alive()) {
            bail!("host {name} belongs to process {}, which still runs", owner.pid());
        }
        if !making.keep_tree {
            host.remove()?;
            host.kind = making.kind;
        }
        // First of all whose it is: whatever ends this process, the rest is found and removed.
        fs::create_dir_all(&host.dir)
            .with_context(|| format!("cannot make {}", host.dir.display()))?;
        match making.owner {
            Owner::ThisProcess => {
                ProcessId::own()?.write(&host.owner_file())?;
                registry::remember(&host)?;
            }
            Owner::Person => drop(fs::remove_file(host.owner_file())),
        }
        let layer = match host.kind {
            Kind::Container => None,
            Kind::Machine => Some(vm::ensure_layer(checkout)?),
        };
        let (base, product) = base_and_product(checkout, making.product)?;
        if !host.root().is_dir() {
            host.copy_tree(&base)?;
        }
        if let Some(product) = product {
            product.install(&host.root())?;
            product::make_users(&host.root())?;
        }
        if let Some(layer) = layer {
            vm::make_disk(&layer, &host.dir, &host.root())?;
        }
        Ok(host)
    }

    /// Under another name first, so that nobody boots half a tree.
    fn copy_tree(&self, base: &Path) -> Result<()> {
        let unfinished = self.dir.join("root.unfinished");
        base::remove_tree(&unfinished)?;
        base::copy(base, &unfinished)?;
        base::write(&unfinished.join("etc/machine-id"), machine_id()?)?;
        fs::rename(&unfinished, self.root())
            .with_context(|| format!("cannot rename {}", unfinished.display()))
    }
}

/// Side by side, since the first time each takes a minute: one waits for the network, the other
/// for the processors.
fn base_and_product(
    checkout: &Checkout,
    profile: Option<Profile>,
) -> Result<(PathBuf, Option<Product>)> {
    thread::scope(|scope| {
        let base = scope.spawn(|| base::ensure(checkout));
        let product = profile.map(|profile| Product::build(checkout, profile)).transpose();
        let base = base.join().map_err(|_| anyhow!("the thread that makes the tree panicked"))?;
        Ok((base?, product?))
    })
}

/// 32 hex digits of its own for each host, so that journals of two never mix.
fn machine_id() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random numbers")?;
    Ok(format!("{}\n", uuid.trim().replace('-', "")))
}
