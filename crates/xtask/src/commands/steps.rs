//! The steps of the demo as a person sees them: one line each, with its time, when it is done.

use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use anyhow::Result;

/// Prints steps.
#[derive(Debug)]
pub(crate) struct Steps {
    started: Instant,
    live: bool,
}

impl Steps {
    /// The clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), live: stdout().is_terminal() }
    }

    /// Does a step; `doing` stands on a terminal meanwhile, what `done` makes of its result stays.
    pub(crate) fn step<T>(
        &self,
        doing: &str,
        step: impl FnOnce() -> Result<T>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let began = Instant::now();
        if self.live {
            print!("· {doing} …");
            stdout().flush()?;
        }
        let result = step();
        if self.live {
            // Back to the line's start, and clear it.
            print!("\r\x1b[K");
        }
        match &result {
            Ok(value) => println!("✓ {:>6.1} s  {}", began.elapsed().as_secs_f32(), done(value)),
            Err(_) => println!("✗ {:>6.1} s  {doing}", began.elapsed().as_secs_f32()),
        }
        result
    }

    /// The sum.
    pub(crate) fn seconds(&self) -> f32 {
        self.started.elapsed().as_secs_f32()
    }
}
