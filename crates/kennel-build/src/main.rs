//! `kennel-build run <id>`, `kennel-build settle <id>`: what `kennel-build@<id>.service` starts and
//! what it starts afterwards. `kennel-build tidy`: what `kennel-tidy.service` starts.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kennel_build::{Confined, EXIT_WAITS, Leash, Runner, settle, tidy};
use kennel_core::{BuildId, BuildState, Layout, error_chain};
use tracing::error;

/// Builds what a commit's kennel.toml names. Started by systemd as kennel-build@<id>.service.
#[derive(Parser)]
#[command(name = "kennel-build", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Does the build (ExecStart=).
    Run {
        /// The build's number, as `kennelctl builds` shows it.
        id: BuildId,
    },
    /// Writes down the end of a build whose program could not (ExecStopPost=); reads
    /// $SERVICE_RESULT, $EXIT_CODE and $EXIT_STATUS.
    Settle {
        /// The build's number.
        id: BuildId,
    },
    /// Removes what forgotten builds have left (kennel-tidy.service).
    Tidy,
    /// Confines itself to the given paths and becomes the given program. Used by `run` on git and
    /// Nix.
    #[command(hide = true)]
    Confined(Confined),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Confined(confined) = cli.command {
        return confined.become_it();
    }
    kennel_systemd::log_to_journal();
    let layout = Layout::default();
    let result = match cli.command {
        Command::Run { id } => Runner::new(&layout, Leash::itself(), id)
            .run()
            .map(|state| match state {
                // A build that failed is a job that failed, in `systemctl status` and the journal.
                Some(BuildState::Failed) => ExitCode::FAILURE,
                Some(BuildState::Queued) => ExitCode::from(EXIT_WAITS),
                Some(
                    BuildState::WaitingForApproval
                    | BuildState::Building
                    | BuildState::Succeeded
                    | BuildState::Partial
                    | BuildState::Cancelled
                    | BuildState::Superseded,
                )
                | None => ExitCode::SUCCESS,
            })
            .map_err(|error| error_chain(&error)),
        Command::Settle { id } => {
            settle(&layout, id).map(|_state| ExitCode::SUCCESS).map_err(|error| error_chain(&error))
        }
        Command::Tidy => {
            tidy(&layout).map(|()| ExitCode::SUCCESS).map_err(|error| error_chain(&error))
        }
        Command::Confined(_) => Ok(ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|message| {
        error!("{message}");
        ExitCode::FAILURE
    })
}
