//! All hosts of a checkout: those of this process, those of people, and those of crashed runs.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::Host;
use crate::checkout::Checkout;
use crate::process::ProcessId;

/// The folders of the hosts that this process made and has to end.
static OWN: Mutex<Vec<(String, PathBuf)>> = Mutex::new(Vec::new());

pub(super) fn remember(host: &Host) {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.push((host.name.clone(), host.dir.clone()));
}

/// Ends the hosts that this process made, without waiting for them to shut down.
pub fn end_own() {
    let own = std::mem::take(&mut *OWN.lock().unwrap_or_else(PoisonError::into_inner));
    for (name, dir) in own {
        let host = Host { name, dir, child: Mutex::new(None) };
        if let Err(err) = host.destroy() {
            eprintln!("host {} stays: {err:#}; `cargo xtask host down` tries again", host.name);
        }
    }
}

/// Leaves the hosts that this process made to a person.
///
/// # Errors
/// When a host's folder cannot be written.
pub fn disown() -> Result<()> {
    for (_, dir) in std::mem::take(&mut *OWN.lock().unwrap_or_else(PoisonError::into_inner)) {
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
            let owner = host.dir.join("owner");
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
