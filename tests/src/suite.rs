//! The list of tests and what runs them: like libtest, with an end that is ordinary code.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};
use xtask::checkout::Checkout;
use xtask::host::{self, Host};
use xtask::interrupt;
use xtask::kennel::Kennel;

use crate::bare::Bare;
use crate::failures::Failures;
use crate::hosts::{self, Place};
use crate::nixos::Nixos;

/// For the end of the run. The library that runs the tests only counts them.
static FAILURES: Failures = Failures::none();

/// Tests in the order in which they start.
#[derive(Default)]
pub struct Suite {
    at_once: Vec<Trial>,
    timed: Vec<Trial>,
}

impl Suite {
    /// Adds a test that shares the host with others: it uses names of its own and stops nothing.
    #[must_use]
    pub fn test(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        let trial = trial(name, move || run(test, &hosts::shared()));
        self.at_once.push(trial);
        self
    }

    /// Adds a test that has a host to itself: it reboots, stops, or looks at all of it.
    #[must_use]
    pub fn test_alone(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        let trial = trial(name, move || run(test, &hosts::exclusive()));
        self.at_once.push(trial);
        self
    }

    /// Adds a test that has a Debian of its own, which has never seen Kennel.
    #[must_use]
    pub fn test_from_nothing(mut self, name: &str, test: fn(&Bare) -> Result<()>) -> Self {
        let label = name.split(':').next().unwrap_or(name).to_owned();
        let trial = trial(name, move || {
            let bare = hosts::bare(&label).map_err(|err| format!("no bare host: {err:#}"))?;
            let ended = test(&bare).map_err(|err| format!("on the {label} host: {err:#}"));
            if ended.is_err() {
                keep_journal(&label, bare.host());
            }
            ended
        });
        self.at_once.push(trial);
        self
    }

    /// Adds a test that has a host of its own, laid out as NixOS lays one out.
    #[must_use]
    pub fn test_on_nixos(
        mut self,
        name: &str,
        nixos: Nixos,
        test: fn(&Kennel) -> Result<()>,
    ) -> Self {
        let trial = trial(name, move || {
            let kennel = hosts::nixos(&nixos).map_err(|err| format!("no nixos host: {err:#}"))?;
            let ended = test(&kennel).map_err(|err| format!("on the nixos host: {err:#}"));
            if ended.is_err() {
                keep_journal("nixos", kennel.host());
            }
            ended
        });
        self.at_once.push(trial);
        self
    }

    /// Adds a test of what is typed on this machine itself. Nothing else runs meanwhile.
    #[must_use]
    pub fn test_of_machine(mut self, name: &str, test: fn() -> Result<()>) -> Self {
        self.timed.push(trial(name, move || test().map_err(|err| format!("{err:#}"))));
        self
    }

    /// Adds a test that takes the time of something: nothing else runs meanwhile.
    #[must_use]
    pub fn test_timed(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        let trial = trial(name, move || run(test, &hosts::exclusive()));
        self.timed.push(trial);
        self
    }

    /// Adds a test of what only a virtual machine can show: limits. Nothing else runs meanwhile.
    /// Where there is no such machine it is skipped, and says why.
    #[must_use]
    pub fn test_on_vm(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        let test_name = name.to_owned();
        self.timed.push(Trial::ignorable_test(name, move || match hosts::with_limits() {
            Ok(place) => noted(&test_name, || run(test, &place)).map(|()| Completion::Completed),
            Err(why) => Ok(Completion::ignored_with(format!("skipped: {why}"))),
        }));
        self
    }

    /// Runs what the command line asks for, ends the hosts, and says how it went.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        // Each waits for its place on a host; none waits for another's.
        let threads = arguments.test_threads.unwrap_or(self.at_once.len());
        let at_once = Arguments { test_threads: Some(threads), ..arguments.clone() };
        let one_by_one = Arguments { test_threads: Some(1), ..arguments };
        let conclusions = [
            libtest_mimic::run(&at_once, self.at_once),
            libtest_mimic::run(&one_by_one, self.timed),
        ];
        let has_failed = conclusions.iter().any(Conclusion::has_failed);
        if has_failed {
            for (name, kennel) in hosts::booted() {
                keep_journal(name, kennel.host());
            }
        }
        host::end_own();
        interrupt::let_it_finish();
        eprint!("{}", FAILURES.summary());
        if has_failed { ExitCode::from(101) } else { ExitCode::SUCCESS }
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suite of {} tests", self.at_once.len() + self.timed.len())
    }
}

fn trial(name: &str, run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    let test = name.to_owned();
    Trial::test(name, move || noted(&test, run))
}

/// Runs a test, and keeps what it says if it fails.
fn noted(test: &str, run: impl FnOnce() -> Result<(), String>) -> Result<(), Failed> {
    // Snapshots fail with a panic. A test that panicked has left nothing half done here.
    let ended = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(words(&*panic)));
    ended.map_err(|message| {
        FAILURES.note(test, &message);
        Failed::from(message)
    })
}

fn run(test: fn(&Kennel) -> Result<()>, place: &Place) -> Result<(), String> {
    let ended = place.kennel().and_then(test);
    ended.map_err(|err| format!("on the {} host: {err:#}", place.name()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a word"))
}

/// The host goes, its journal stays for whoever looks into the failure.
fn keep_journal(name: &str, host: &Host) {
    match write_journal(name, host) {
        Ok(path) => eprintln!("the journal of the {name} host: {}", path.display()),
        Err(err) => eprintln!("the journal of the {name} host is lost: {err:#}"),
    }
}

fn write_journal(name: &str, host: &Host) -> Result<PathBuf> {
    let path = Checkout::find()?.target().join(format!("e2e-journal-{name}.txt"));
    let journal = host.journal(&["-o", "short-precise"])?;
    fs::write(&path, journal)?;
    Ok(path)
}
