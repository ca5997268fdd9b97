//! The harness of the end-to-end suite: a booted host that many tests share, and two for one at a time.
//!
//! What a test does to the host is in `xtask` (the demo does the same): [`Kennel`], [`Project`],
//! [`Sources`], [`Load`]. Here is only what makes tests of it.
// Tests speak to a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod build_row;
mod failures;
mod gone;
mod held;
mod hosts;
mod inbox;
mod leftovers;
mod nixos;
mod outcome;
mod restored;
mod rows;
mod settings;
mod suite;
mod unbooted;
mod waiting;

use std::time::Duration;

pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use bare::{Bare, PACKAGES};
pub use build_row::BuildRow;
pub use gone::{builds_of, expect_gone};
pub use held::{Armed, Held, Holds, Way};
pub use inbox::Asked;
pub use leftovers::{expect_no_leftovers, expect_nothing_left};
pub use nixos::Nixos;
pub use outcome::{expect_deployment, expect_failure, expect_no_change, shown};
pub use restored::expect_restored;
pub use rows::{Build, Database, Deployment, Rows};
pub use rusqlite::Connection;
pub use settings::Settings;
pub use suite::Suite;
pub use waiting::{builders, go_on, that_waits};
pub use xtask::forge::{Event, Forge, HeadRepository, NO_COMMIT, PullRequest, PullRequestAction};
pub use xtask::host::{Host, Output};
pub use xtask::http::{Answer, Ask};
pub use xtask::kennel::Kennel;
pub use xtask::load::{Load, Report};
pub use xtask::netns::Netns;
pub use xtask::project::{Edit, Project, Pushed};
pub use xtask::sources::Sources;

/// The domain of the shared host. Nothing resolves it: requests go to the host whatever they name.
pub const BASE_DOMAIN: &str = "kennel.test";

/// How long a test waits for what takes seconds on a calm machine: pushes, builds, deployments, drains
/// and boots. It bounds a test that would wait for ever, and is no promise of Kennel's. A test that
/// must not end by a health check's timeout gives it the 600 s that it may have at most.
pub const LIMIT: Duration = Duration::from_secs(480);

/// Figures that a test has measured, for whoever reads along. They are no part of its verdict.
pub fn say_figures(figures: &str) {
    eprintln!("{figures}");
}
