//! Who used the processors: from /proc, before and after.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::proxies::Proxy;

/// Cores by which what this namespace used may exceed what the machine says was used, which is counted
/// apart, before that is taken for proof of [`Account::with_softirqs`].
const DOUBT: f64 = 0.05;

/// Ticks a second, on every architecture that this runs on (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Reads, and learns how this kernel counts.
pub(super) struct Account {
    /// Whether the work of the network that a process causes is counted as the process's, which depends
    /// on how the kernel was built. Known once it has shown.
    with_softirqs: bool,
}

/// One look.
pub(super) struct Look {
    at: Instant,
    /// Ticks of the proxy, of all processes in here, of the machine, and of the machine's interrupts.
    proxy: u64,
    own: u64,
    machine: u64,
    interrupts: u64,
}

/// What was used between two looks.
pub(super) struct Spent {
    pub(super) secs: f64,
    /// Seconds of CPU.
    pub(super) proxy_secs: f64,
    /// Cores that were used by nobody in here; what a hypervisor took is among them.
    pub(super) foreign: f64,
}

impl Account {
    pub(super) fn new() -> Self {
        Self { with_softirqs: false }
    }

    pub(super) fn look(&self, proxy: &Proxy) -> Result<Look> {
        let (machine, interrupts) = machine()?;
        let proxy = proxy.processes().into_iter().filter_map(ticks).map(|it| it.own).sum();
        // Of those that have ended, this process knows.
        let ended = ticks(1).map_or(0, |it| it.of_children);
        let own = all().into_iter().filter_map(ticks).map(|it| it.own).sum::<u64>() + ended;
        Ok(Look { at: Instant::now(), proxy, own, machine, interrupts })
    }

    pub(super) fn since(&mut self, before: &Look, proxy: &Proxy) -> Result<Spent> {
        let after = self.look(proxy)?;
        let secs = (after.at - before.at).as_secs_f64();
        let between = |before: u64, after: u64| {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let ticks = after.saturating_sub(before) as f64;
            ticks / TICKS
        };
        let machine = between(before.machine, after.machine);
        let interrupts = between(before.interrupts, after.interrupts);
        let own = between(before.own, after.own);
        if machine - interrupts - own < -DOUBT * secs {
            self.with_softirqs = true;
        }
        let machine = if self.with_softirqs { machine } else { machine - interrupts };
        Ok(Spent {
            secs,
            proxy_secs: between(before.proxy, after.proxy),
            foreign: ((machine - own) / secs).max(0.0),
        })
    }
}

struct Ticks {
    own: u64,
    of_children: u64,
}

/// Of one process (`proc_pid_stat(5)`, fields 14 to 17).
fn ticks(pid: i32) -> Option<Ticks> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = fields.try_into().ok()?;
    Some(Ticks { own: user + system, of_children: children_user + children_system })
}

fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Busy ticks of all processors, and those of interrupts among them (`proc_stat(5)`).
fn machine() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let at = |index: usize| fields.get(index).copied().unwrap_or_default();
    let interrupts = at(5) + at(6);
    Ok((at(0) + at(1) + at(2) + interrupts + at(7), interrupts))
}
