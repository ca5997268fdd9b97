//! The command by which a program is its own confiner: see [`Leash`](crate::Leash).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kennel_core::error_chain;

use crate::confine::{ConfineError, Fence, confine};

/// `confined`: what each program that starts git or Nix offers to itself.
#[derive(Debug, Args)]
pub struct Confined {
    /// May be read and executed, with everything below.
    #[arg(long)]
    read: Vec<PathBuf>,
    /// May be changed too.
    #[arg(long)]
    write: Vec<PathBuf>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

impl Confined {
    /// Becomes the program. Comes back only if it could not.
    #[must_use]
    pub fn become_it(self) -> ExitCode {
        let Self { read, write, program } = self;
        let error = confine(&Fence { read, write }, &program);
        // Its stderr is git's or Nix's, and no journal.
        #[expect(clippy::print_stderr, reason = "this process stands in for git or Nix")]
        {
            eprintln!("error: {}", error_chain(&error));
        }
        ExitCode::from(ConfineError::EXIT_STATUS)
    }
}
