//! `cargo xtask`: builds, installs, boots, tests and shows Kennel.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::product::Profile;

/// Builds, installs, boots, tests and shows Kennel.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the product and put it into a root tree as a package would
    Install {
        /// The tree, `/` for this machine
        #[arg(long)]
        root: PathBuf,
        /// How to compile it
        #[arg(long, value_enum, default_value = "release")]
        profile: Profile,
    },
    /// Test hosts: Debian with the product in it, booted by systemd-nspawn
    #[command(subcommand)]
    Host(commands::host::Host),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Install { root, profile } => commands::install(&root, profile),
        Command::Host(host) => host.run(),
    };
    result.unwrap_or_else(|err| {
        eprintln!("error: {err:#}");
        ExitCode::FAILURE
    })
}
