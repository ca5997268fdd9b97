//! `cargo xtask bench wake`: how long a visitor waits for a service that sleeps, beside one that asks
//! while it is awake.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use xtask::kennel::Kennel;

use super::reports;
use super::series::Series;
use super::stage::{Stage, fresh, until_jobs_ended};

/// A deployment, or the end of a program.
const LIMIT: Duration = Duration::from_secs(60);

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Wake {
    #[command(flatten)]
    stage: Stage,
    /// Times that it is woken
    #[arg(long, default_value_t = 20)]
    samples: usize,
    /// Milliseconds that the program takes from its start until it listens
    #[arg(long, default_value_t = 100)]
    start_ms: u64,
}

impl Wake {
    pub(crate) fn run(&self) -> Result<()> {
        let kennel = self.stage.open("")?;
        let project = kennel.project(&fresh("wake"))?;
        let conf = format!("version = woken\nstart_delay_ms = {}\n", self.start_ms);
        let toml = "[services.api]\nsleep_after = \"1d\"\n";
        let sources = kennel.sources().service_with("api", &conf).kennel_toml(toml);
        project.push("main", &sources, "a service that may sleep")?;
        let address = project.address("api", "main");
        kennel.expect_page(&address, "/version", "woken", LIMIT)?;
        until_jobs_ended(&kennel)?;

        let units = format!("kennel-{}-main-api@*", project.name());
        let (mut asleep, mut awake) = (Series::default(), Series::default());
        for _ in 0..self.samples {
            put_to_sleep(&kennel, &units)?;
            asleep.add(visit(&kennel, &address)?);
            awake.add(visit(&kennel, &address)?);
        }
        reports::table(
            &format!("a page of a service that starts in {} ms, ms", self.start_ms),
            [("while it sleeps", &asleep), ("while it is awake", &awake)],
        );
        let figures = json!({ "asleep_ms": asleep.json(), "awake_ms": awake.json() });
        self.stage.keep("wake", &figures)
    }
}

/// As an operator does it; what wakes it stays.
fn put_to_sleep(kennel: &Kennel, units: &str) -> Result<()> {
    kennel.host().run(&["systemctl", "stop", &format!("{units}.service")])?;
    kennel.wait_for("service that sleeps", LIMIT, || {
        let list = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active", units];
        let active = kennel.host().run(&list)?;
        let is_asleep = active.contains(".socket") && !active.contains(".service");
        Ok(is_asleep.then_some(()))
    })
}

/// Over a new connection, from before it is made to the answer's last byte.
fn visit(kennel: &Kennel, address: &str) -> Result<Duration> {
    let began = Instant::now();
    let answer = kennel.get(address, "/version")?;
    let took = began.elapsed();
    ensure!(answer.text() == "woken\n", "it answers {}: {}", answer.status, answer.text());
    Ok(took)
}
