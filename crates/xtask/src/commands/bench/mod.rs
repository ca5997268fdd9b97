//! `cargo xtask bench`: what Kennel costs, measured on a test host beside what it is compared with.
//!
//! Two figures that are compared come from one run, by turns: what the machine does meanwhile is
//! then in both. Nothing here is a test; docs/performance.md says which figures are to be reached.

mod by_hand;
mod deliveries;
mod idle;
mod pipeline;
mod reports;
mod router;
mod scale;
mod series;
mod stage;
mod timeline;
mod visitor;
mod wake;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use xtask::{host, interrupt};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// From a webhook to the first answer of the new version, beside the same work done by hand
    Pipeline(pipeline::Pipeline),
    /// Webhook deliveries a second, beside Debian's webhook
    Deliveries(deliveries::Deliveries),
    /// The deployment of the 10th service of a host, and of the 500th
    Scale(scale::Scale),
    /// What runs when there is nothing to do, and what the first webhook then takes
    Idle(idle::Idle),
    /// A page of a service that sleeps
    Wake(wake::Wake),
    /// Requests a second, CPU, latency and memory of the router, beside nginx and HAProxy
    Router(router::Router),
}

impl Bench {
    /// Measures, and removes the host if it was made for this.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        interrupt::on_interrupt(|| {
            println!("\nending the measurement");
            host::end_own();
        })?;
        let measured = match self {
            Self::Pipeline(bench) => bench.run(),
            Self::Deliveries(bench) => bench.run(),
            Self::Scale(bench) => bench.run(),
            Self::Idle(bench) => bench.run(),
            Self::Wake(bench) => bench.run(),
            Self::Router(bench) => bench.run(),
        };
        host::end_own();
        measured?;
        Ok(ExitCode::SUCCESS)
    }
}
