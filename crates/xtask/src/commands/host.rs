//! `cargo xtask host`: hosts for people.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use xtask::checkout::Checkout;
use xtask::host::{self, Booted, Kind, Making, Owner, exit_code};
use xtask::kennel;
use xtask::needs;
use xtask::netns::Forwarder;
use xtask::product::Profile;

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// Make and boot a host
    Up {
        #[command(flatten)]
        name: Name,
        /// Boot the tree that an earlier host of this name left, with the product installed anew
        #[arg(long)]
        keep: bool,
        /// Boot it with qemu and a kernel of its own, where limits act (slow without KVM)
        #[arg(long, conflicts_with = "keep")]
        vm: bool,
        /// Boot a Debian without the product
        #[arg(long)]
        bare: bool,
        /// How to compile the product
        #[arg(long, value_enum, default_value = "quick")]
        profile: Profile,
    },
    /// Run a command in a host as root, and exit as it does
    Exec {
        #[command(flatten)]
        name: Name,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Open a root shell in a host
    Shell {
        #[command(flatten)]
        name: Name,
    },
    /// Carry a port of this machine to the router of a host, until Ctrl-C
    Forward {
        #[command(flatten)]
        name: Name,
        /// The port on 127.0.0.1
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Stop a host and boot the same tree again
    Reboot {
        #[command(flatten)]
        name: Name,
    },
    /// Pull a host's plug: end all its processes at once and keep its tree for `up --keep`
    Kill {
        #[command(flatten)]
        name: Name,
    },
    /// Shut a host down and remove it
    Down {
        #[command(flatten)]
        name: Name,
        /// Keep its tree for `up --keep`
        #[arg(long)]
        keep: bool,
        /// All hosts of this checkout, also those of crashed and running tests
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// List the hosts of this checkout
    List,
}

/// Which host.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The host's name
    #[arg(long, default_value = "dev")]
    name: String,
}

impl Host {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let checkout = Checkout::find()?;
        let open = |name: &Name| host::Host::open(&checkout, &name.name);
        match self {
            Self::Up { name, keep, vm, bare, profile } => {
                needs::install()?;
                if vm && let Some(why) = host::vm::missing() {
                    bail!("no virtual machine: {why}");
                }
                let product = (!bare).then_some(profile);
                let kind = if vm { Kind::Machine } else { Kind::Container };
                let making = Making { owner: Owner::Person, product, kind, keep_tree: keep };
                let host = host::Host::make(&checkout, &name.name, making)?;
                let configure = || match product {
                    Some(_) => kennel::configure(&host, kennel::DEMO_DOMAIN, ""),
                    None => Ok(()),
                };
                // A container's tree can be written before it boots, a virtual machine after.
                if kind == Kind::Container {
                    configure()?;
                }
                report(&host, &host.boot()?);
                if kind == Kind::Machine {
                    configure()?;
                }
            }
            Self::Exec { name, argv } => return run(&open(&name)?, &argv),
            Self::Shell { name } => return run(&open(&name)?, &["bash".into(), "-l".into()]),
            Self::Forward { name, port } => {
                let host = open(&name)?;
                let forwarder = Forwarder::bind(port)?;
                forwarder.serve(host.netns()?, 80);
                println!("http://127.0.0.1:{port} is port 80 of {}; Ctrl-C ends it", name.name);
                // With the host it ends too, so that nothing of a demo is left behind.
                while host.is_running() {
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
            Self::Reboot { name } => {
                let host = open(&name)?;
                report(&host, &host.reboot()?);
            }
            Self::Kill { name } => open(&name)?.kill()?,
            Self::Down { all: true, .. } => {
                for listed in host::list(&checkout)? {
                    listed.host.down()?;
                    println!("host {} is gone", listed.host.name());
                }
            }
            Self::Down { name, keep: true, .. } => open(&name)?.poweroff()?,
            Self::Down { name, .. } => {
                open(&name)?.down()?;
                println!("host {} is gone", name.name);
            }
            Self::List => list(&checkout)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn run(host: &host::Host, argv: &[String]) -> Result<ExitCode> {
    let status = host.command(argv)?.status().context("cannot run nsenter or ssh")?;
    Ok(ExitCode::from(u8::try_from(exit_code(status)).unwrap_or(u8::MAX)))
}

fn report(host: &host::Host, booted: &Booted) {
    println!("host {} is {} after {:.1} s", host.name(), booted.state, booted.took.as_secs_f64());
    for unit in &booted.failed_units {
        println!(
            "  failed: {unit}; cargo xtask host exec --name {} -- journalctl -b -u {unit}",
            host.name()
        );
    }
}

fn list(checkout: &Checkout) -> Result<()> {
    for listed in host::list(checkout)? {
        let state = match (listed.abandoned, listed.host.is_running()) {
            (true, true) => "running, abandoned by its test run",
            (true, false) => "stopped, abandoned by its test run",
            (false, true) => "running",
            (false, false) => "stopped",
        };
        let place = match listed.host.kind() {
            Kind::Container => listed.host.root().display().to_string(),
            Kind::Machine => "(virtual machine)".to_owned(),
        };
        println!("{:<20} {state:<40} {place}", listed.host.name());
    }
    Ok(())
}
