//! A process that may outlive this one, named so that a later run recognises it.
//!
//! A process id alone is used again by the kernel; with the start time it names one process for
//! as long as the machine is up (`proc_pid_stat(5)`, field 22).

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use rustix::process::{Pid, Signal, kill_process};

/// One process of this machine, by its id and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    pid: i32,
    /// Clock ticks since boot.
    started: u64,
}

impl ProcessId {
    /// The running process with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = Stat::read(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started: stat.started })
    }

    /// This process itself.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn own() -> Result<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// The one written to `file` earlier, if it can be read.
    #[must_use]
    pub fn read(file: &Path) -> Option<Self> {
        fs::read_to_string(file).ok()?.parse().ok()
    }

    /// Writes it down for [`ProcessId::read`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(self, file: &Path) -> Result<()> {
        fs::write(file, format!("{} {}\n", self.pid, self.started))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The number that the kernel knows it by.
    #[must_use]
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Whether it still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.is_alive()
        {
            // It may have ended just now, which is all that anybody wants of a signal here.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end; `false` when it still runs after `limit`.
    #[must_use]
    pub fn wait(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// The processes that it started and that still run.
    #[must_use]
    pub fn children(self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.parent == self.pid))
            .collect()
    }
}

impl FromStr for ProcessId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (pid, started) = text.trim().split_once(' ').context("not `<pid> <start time>`")?;
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses itself: count from its end.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_survives_being_written_down() {
        let own = ProcessId::own().unwrap();
        let again: ProcessId = format!("{} {}\n", own.pid, own.started).parse().unwrap();
        assert_eq!(again, own);
        assert!(again.is_alive());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_it() {
        let own = ProcessId::own().unwrap();
        assert!(!ProcessId { started: own.started + 1, ..own }.is_alive());
    }
}
