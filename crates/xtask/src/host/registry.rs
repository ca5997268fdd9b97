//! All hosts of a checkout: those of this process, those of people, and those of crashed runs.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Host, Kind};
use crate::checkout::Checkout;
use crate::process::ProcessId;

/// A copy of a tree goes on for seconds after its host was removed.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// The hosts that this process made and has to end.
static OWN: Mutex<Own> = Mutex::new(Own { hosts: Vec::new(), ended: false });

struct Own {
    hosts: Vec<(String, PathBuf, Kind)>,
    /// Nothing is started any more.
    ended: bool,
}

pub(super) fn remember(host: &Host) -> Result<()> {
    let mut own = own();
    ensure!(!own.ended, "interrupted");
    own.hosts.push((host.name.clone(), host.dir.clone(), host.kind));
    Ok(())
}

/// Does `start`, unless this process is about to end: what a signal has ended, another thread must
/// not start again.
pub(super) fn unless_ended<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = own();
    ensure!(!own.ended, "interrupted");
    start()
}

/// Ends the hosts that this process made, without waiting for them to shut down. Two threads may
/// both call it: each returns when all is done.
pub fn end_own() {
    let mut own = own();
    own.ended = true;
    for (name, dir, kind) in std::mem::take(&mut own.hosts) {
        let host = Host { name, dir, kind, child: Mutex::new(None) };
        if let Err(err) = destroy(&host) {
            eprintln!("host {} stays: {err:#}; `cargo xtask host down` tries again", host.name);
        }
    }
}

fn destroy(host: &Host) -> Result<()> {
    let deadline = Instant::now() + REMOVE_LIMIT;
    loop {
        match host.destroy() {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
}

fn own() -> MutexGuard<'static, Own> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the hosts that this process made to a person.
///
/// # Errors
/// When a host's folder cannot be written.
pub fn disown() -> Result<()> {
    for (_, dir, _) in std::mem::take(&mut own().hosts) {
        fs::remove_file(dir.join("owner"))?;
    }
    Ok(())
}

/// One line of `host list`.
#[derive(Debug)]
pub struct Listed {
    /// The host.
    pub host: Host,
    /// Whether the process that should have ended it is gone.
    pub abandoned: bool,
}

/// Every host of the checkout, by name.
///
/// # Errors
/// When the folder of hosts cannot be read.
pub fn list(checkout: &Checkout) -> Result<Vec<Listed>> {
    let hosts = checkout.hosts();
    if !hosts.is_dir() {
        return Ok(Vec::new());
    }
    let mut listed: Vec<Listed> = fs::read_dir(&hosts)?
        .flatten()
        .filter(|entry| entry.path().is_dir())
        // Base trees are no names for hosts.
        .filter_map(|entry| Host::open(checkout, entry.file_name().to_str()?).ok())
        .map(|host| {
            let owner = host.owner_file();
            let abandoned =
                owner.exists() && !ProcessId::read(&owner).is_some_and(ProcessId::is_alive);
            Listed { host, abandoned }
        })
        .collect();
    listed.sort_by(|a, b| a.host.name.cmp(&b.host.name));
    Ok(listed)
}

/// Ends the hosts whose runs have crashed; returns their names.
///
/// # Errors
/// When one of them stays.
pub fn end_abandoned(checkout: &Checkout) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for listed in list(checkout)?.into_iter().filter(|listed| listed.abandoned) {
        listed.host.destroy()?;
        ended.push(listed.host.name);
    }
    Ok(ended)
}
