//! `cargo xtask`: builds, installs, boots, tests and shows Kennel.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::interrupt;
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
    /// Make a package for Debian 13 and its relatives
    Deb {
        /// The folder that it comes into [default: target/package]
        #[arg(long)]
        output: Option<PathBuf>,
        /// How to compile it
        #[arg(long, value_enum, default_value = "release")]
        profile: Profile,
    },
    /// Make an archive with an install.sh, for systems without dpkg
    Tarball {
        /// The folder that it comes into [default: target/package]
        #[arg(long)]
        output: Option<PathBuf>,
        /// How to compile it
        #[arg(long, value_enum, default_value = "release")]
        profile: Profile,
    },
    /// Write the man pages into a directory, as packages have them
    Man {
        /// Where to; pages come into man1, man5 and so on
        directory: PathBuf,
    },
    /// Write completions for bash, zsh and fish into a directory
    Completions {
        /// Where to
        directory: PathBuf,
    },
    /// Test hosts: Debian with the product in it, booted by systemd-nspawn or qemu
    #[command(subcommand)]
    Host(commands::host::Host),
    /// Run all tests, as root on Debian also the end-to-end suite
    Test {
        /// Only tests with this in their names
        #[arg(long)]
        filter: Option<String>,
        /// Leave out the end-to-end suite, which boots a host
        #[arg(long)]
        no_host: bool,
        /// Also run the tests of limits, which boot a virtual machine
        #[arg(long)]
        vm: bool,
    },
    /// Try what strangers' bytes meet first with bytes that libFuzzer makes up
    Fuzz {
        /// Only this target [default: all of them]
        target: Option<String>,
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Instead take what was found into the corpus, as far as it covers more
        #[arg(long)]
        merge: bool,
    },
    /// Measure what Kennel costs, beside what it is compared with
    #[command(subcommand)]
    Bench(commands::bench::Bench),
    /// Go from here to a live URL, and push a second version under load
    Demo(commands::demo::Demo),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Install { root, profile } => commands::install(&root, profile),
        Command::Deb { output, profile } => commands::deb(output, profile),
        Command::Tarball { output, profile } => commands::tarball(output, profile),
        Command::Man { directory } => commands::man(&directory),
        Command::Completions { directory } => commands::completions(&directory),
        Command::Host(host) => host.run(),
        Command::Test { filter, no_host, vm } => {
            commands::test::run(filter.as_deref(), no_host, vm)
        }
        Command::Fuzz { target, seconds, merge } => {
            commands::fuzz::run(seconds, target.as_deref(), merge)
        }
        Command::Bench(bench) => bench.run(),
        Command::Demo(demo) => demo.run(),
    };
    interrupt::let_it_finish();
    result.unwrap_or_else(|err| {
        eprintln!("error: {err:#}");
        ExitCode::FAILURE
    })
}
