//! `kennel-acme`: what `kennel-acme.service` starts.

use std::process::ExitCode;

use clap::Parser;
use kennel_core::{Layout, error_chain};
use tracing::error;

/// Gets certificates for the hosts that are served here, and renews them. Started by systemd as
/// kennel-acme.service.
#[derive(Parser)]
#[command(name = "kennel-acme", version)]
struct Arguments {}

fn main() -> ExitCode {
    let Arguments {} = Arguments::parse();
    kennel_systemd::log_to_journal();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(kennel_acme::run(&Layout::default())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            ExitCode::from(if error.is_of_set_up() { 64 } else { 1 })
        }
    }
}
