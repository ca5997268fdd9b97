//! `kennel-poll [PROJECT...]`: what `kennel-poll.service` starts.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kennel_build::{Confined, Leash};
use kennel_core::{Layout, ProjectName, error_chain};
use kennel_poll::Poller;
use tracing::error;

/// Looks at the forges for pushes and deletions that no webhook told of. Started by systemd as
/// kennel-poll.service.
#[derive(Parser)]
#[command(name = "kennel-poll", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    poll: Poll,
}

#[derive(Args)]
struct Poll {
    /// Only these projects, also those whose forge is left alone for a while.
    projects: Vec<ProjectName>,
}

#[derive(Subcommand)]
enum Command {
    /// Confines itself to the given paths and becomes the given program. Used on git.
    #[command(hide = true)]
    Confined(Confined),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Confined(confined)) = cli.command {
        return confined.become_it();
    }
    kennel_systemd::log_to_journal();
    let layout = Layout::default();
    let leash = Leash::itself();
    match Poller::new(&layout, &leash).run(&cli.poll.projects) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&error));
            ExitCode::FAILURE
        }
    }
}
