//! `kennel-sweep`: what `kennel-sweep.service` starts.

use std::process::ExitCode;

use clap::Parser;
use kennel_core::{Layout, error_chain};
use kennel_sweep::{SweepError, Sweeper};
use tracing::error;

/// Ends what nobody uses any more. Started by systemd as kennel-sweep.service; starting that by hand
/// looks once more.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    Arguments::parse();
    kennel_systemd::log_to_journal();
    match Sweeper::new(&Layout::default()).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            match error {
                SweepError::Config(_) => ExitCode::from(64),
                SweepError::Store(_) | SweepError::Runtime(_) => ExitCode::FAILURE,
            }
        }
    }
}
