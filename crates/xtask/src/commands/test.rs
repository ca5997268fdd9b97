//! `cargo xtask test`: everything that must pass, in one command.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use xtask::checkout::Checkout;
use xtask::{host, interrupt, needs};

/// The suite ends its host by cutting it off, which takes a second.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The process group of the cargo that runs now.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// Runs unit tests, then the end-to-end suite; both also when the first fails.
pub(crate) fn run(filter: Option<&str>, no_host: bool, vm: bool) -> Result<ExitCode> {
    let checkout = Checkout::find()?;
    needs::install()?;
    let at_the_end = checkout.clone();
    interrupt::on_interrupt(move || {
        end_cargo();
        end_hosts(&at_the_end);
    })?;
    let mut passed = cargo(&checkout, &["--workspace", "--exclude", "kennel-tests"], filter, vm)?;
    if !no_host {
        passed &= cargo(&checkout, &["--package", "kennel-tests"], filter, vm)?;
        end_hosts(&checkout);
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo(checkout: &Checkout, packages: &[&str], filter: Option<&str>, vm: bool) -> Result<bool> {
    let mut command = Command::new("cargo");
    command.args(["test", "--no-fail-fast"]).args(packages).current_dir(checkout.root());
    if let Some(filter) = filter {
        command.arg("--").arg(filter);
    }
    if vm {
        command.env("KENNEL_TEST_VM", "1");
    }
    // In a group of its own, so that one signal reaches cargo and the tests that it runs.
    let mut child =
        command.stdin(Stdio::null()).process_group(0).spawn().context("cannot run cargo")?;
    *running() = Pid::from_raw(i32::try_from(child.id())?);
    let status = child.wait()?;
    *running() = None;
    Ok(status.success())
}

/// Asks cargo and its tests to end, and waits until the suite has ended its host.
fn end_cargo() {
    let Some(group) = *running() else { return };
    let deadline = Instant::now() + END_LIMIT;
    let _ = kill_process_group(group, Signal::TERM);
    while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whatever a test run that was killed has left.
fn end_hosts(checkout: &Checkout) {
    if let Err(err) = host::end_abandoned(checkout) {
        eprintln!("{err:#}; `cargo xtask host list` shows what is left");
    }
}

fn running() -> std::sync::MutexGuard<'static, Option<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
