//! The host that is measured, and where the figures go.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use xtask::checkout::Checkout;
use xtask::host::{self, Host, Kind, Making, Owner};
use xtask::kennel::Kennel;
use xtask::needs;
use xtask::product::Profile;

/// Nothing resolves it.
const BASE_DOMAIN: &str = "kennel.test";

/// Longer than any job of a measurement on a busy machine.
const REST_LIMIT: Duration = Duration::from_secs(60);

/// What every measurement may be told.
#[derive(Debug, Args)]
pub(crate) struct Stage {
    /// Measure on the running host of this name, and leave it running, instead of on a new one
    #[arg(long)]
    host: Option<String>,
    /// How to compile the product for a new host
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// Also write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Stage {
    /// The host with Kennel started on it. `settings` are lines of its configuration.
    pub(crate) fn open(&self, settings: &str) -> Result<Kennel> {
        let checkout = Checkout::find()?;
        needs::install()?;
        let host = if let Some(name) = &self.host {
            Host::open(&checkout, name)?
        } else {
            host::end_abandoned(&checkout)?;
            let making = Making {
                owner: Owner::ThisProcess,
                product: Some(self.profile),
                kind: Kind::Container,
                keep_tree: false,
            };
            let host = Host::make(&checkout, &format!("bench-{}", std::process::id()), making)?;
            let booted = host.boot()?;
            println!("host {} is {} after {:.1?}", host.name(), booted.state, booted.took);
            host
        };
        Kennel::start(&checkout, Arc::new(host), BASE_DOMAIN, settings)
    }

    /// Writes the figures where the caller wanted them.
    pub(crate) fn keep(&self, bench: &str, figures: &Value) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let report = json!({ "bench": bench, "cores": cores, "figures": figures });
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A name for a project that no earlier run on this host has had.
pub(crate) fn fresh(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Waits until no job of Kennel's runs or waits.
pub(crate) fn until_jobs_ended(kennel: &Kennel) -> Result<()> {
    kennel.wait_for("rest of jobs", REST_LIMIT, || {
        let jobs = kennel.host().run(&[
            "systemctl",
            "list-units",
            "--plain",
            "--no-legend",
            "kennel-build@*",
            "kennel-deploy@*",
            "kennel-teardown@*.service",
        ])?;
        if !jobs.trim().is_empty() {
            bail!("{jobs}");
        }
        Ok(Some(()))
    })
}

/// Ends everything that leaves by itself when it is idle, as if that had happened: the next
/// request starts it again.
pub(crate) fn go_cold(kennel: &Kennel) -> Result<()> {
    until_jobs_ended(kennel)?;
    kennel.host().run(&[
        "systemctl",
        "stop",
        // The sockets, which stay, start them again.
        "--no-warn",
        "kennel-webhook.service",
        "kennel-dispatch.service",
        "nix-daemon.service",
    ])?;
    Ok(())
}
