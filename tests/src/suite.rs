//! The list of tests and what runs them: like libtest, with an end that is ordinary code.

use std::fs;
use std::process::ExitCode;
use std::sync::PoisonError;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::checkout::Checkout;
use xtask::host;
use xtask::interrupt;
use xtask::kennel::Kennel;

use crate::shared::{STAYS_UP, booted, kennel};

/// Tests wait far more than they compute, so more of them run at once than there are processors.
const AT_ONCE: usize = 4;

/// Tests in the order in which they start.
#[derive(Default)]
pub struct Suite {
    side_by_side: Vec<Trial>,
    alone: Vec<Trial>,
}

impl Suite {
    /// Adds a test that shares the host with others: it uses names of its own and stops nothing.
    #[must_use]
    pub fn test(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        self.side_by_side.push(Trial::test(name, move || {
            let _up = STAYS_UP.read().unwrap_or_else(PoisonError::into_inner);
            run(test)
        }));
        self
    }

    /// Adds a test that has the host to itself, after all others: it reboots, or fills the machine.
    #[must_use]
    pub fn test_alone(mut self, name: &str, test: fn(&Kennel) -> Result<()>) -> Self {
        self.alone.push(Trial::test(name, move || {
            let _alone = STAYS_UP.write().unwrap_or_else(PoisonError::into_inner);
            run(test)
        }));
        self
    }

    /// Runs what the command line asks for, ends the host, and says how it went.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(AT_ONCE);
        let trials = self.side_by_side.into_iter().chain(self.alone).collect();
        let conclusion = libtest_mimic::run(&arguments, trials);
        if conclusion.has_failed() {
            keep_journal();
        }
        host::end_own();
        interrupt::let_it_finish();
        conclusion.exit_code()
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Suite of {} tests", self.side_by_side.len() + self.alone.len())
    }
}

fn run(test: fn(&Kennel) -> Result<()>) -> Result<(), Failed> {
    kennel().and_then(test).map_err(|err| Failed::from(format!("{err:#}")))
}

/// The host goes, its journal stays for whoever looks into the failure.
fn keep_journal() {
    let Some(kennel) = booted() else { return };
    let keep = || -> Result<()> {
        let path = Checkout::find()?.target().join("e2e-journal.txt");
        let journal = kennel.host().run(&["journalctl", "--no-pager", "-o", "short-precise"])?;
        fs::write(&path, journal)?;
        eprintln!("the host's journal: {}", path.display());
        Ok(())
    };
    if let Err(err) = keep() {
        eprintln!("the host's journal is lost: {err:#}");
    }
}
