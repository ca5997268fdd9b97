//! `kennelctl`: what an administrator types.
//!
//! Shows what serves, what builds and what is wrong, and leaves wishes in the inbox. It reads the
//! databases and never writes them, starts and stops no unit, and does nothing that the programs
//! it talks about could not finish without it. Files of secrets and tokens are all that it writes.

mod approve;
mod args;
mod audit;
mod build;
mod build_view;
mod builds;
mod cancel;
mod check;
mod clock;
mod deploying;
mod doctor;
mod extend;
mod failure;
mod follow;
mod generate;
mod history;
mod host;
mod http;
mod logs;
mod maintenance;
mod password_hash;
mod pin;
mod reconcile;
mod redeploy;
mod rollback;
mod say;
mod secret;
mod signals;
mod status;
mod table;
mod target;
mod teardown;
mod terminal;
mod token;
mod top;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use kennel_core::Layout;

use crate::args::{Cli, Command, PasswordHashArgs};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::terminal::Terminal;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::detect();
    let exit = run(&cli, terminal).unwrap_or_else(|failure| {
        if !matches!(failure, Failure::NobodyReads) {
            terminal.aside(&format!("kennelctl: {}", failure.chain()));
        }
        failure.exit()
    });
    exit.into()
}

fn run(cli: &Cli, terminal: Terminal) -> Result<Exit, Failure> {
    let host =
        Host { layout: Layout::under(&cli.root), is_live: cli.root == Path::new("/"), terminal };
    match &cli.command {
        Command::Status(args) => status::run(&host, args),
        Command::Top(args) => top::run(&host, args),
        Command::Builds(args) => builds::run(&host, args),
        Command::Build(args) => build::run(&host, args),
        Command::Approve(args) => approve::run(&host, args),
        Command::Cancel(args) => cancel::run(&host, args),
        Command::Redeploy(args) => redeploy::run(&host, args),
        Command::History(args) => history::run(&host, args),
        Command::Rollback(args) => rollback::run(&host, args),
        Command::Pin(args) => pin::pin(&host, args),
        Command::Unpin(args) => pin::unpin(&host, args),
        Command::Maintenance(args) => maintenance::run(&host, args),
        Command::Extend(args) => extend::run(&host, args),
        Command::Teardown(args) => teardown::run(&host, args),
        Command::Logs(args) => logs::run(&host, args),
        Command::Secret(args) => secret::run(&host, args),
        Command::Token(args) => token::run(&host, args),
        Command::PasswordHash(PasswordHashArgs {}) => password_hash::run(&host),
        Command::Audit(args) => audit::run(&host, args),
        Command::Generate(args) => generate::run(args),
        Command::Reconcile(args) => reconcile::run(&host, args),
        Command::Check(args) => check::run(&host, args),
        Command::Doctor(args) => doctor::run(&host, args),
    }
}
