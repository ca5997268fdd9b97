//! `cargo xtask bench scale`: what one more service costs on a host that has few, and many.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value, json};
use xtask::kennel::Kennel;
use xtask::project::{Edit, Project, Pushed};

use super::reports;
use super::series::Series;
use super::stage::{Stage, fresh, until_jobs_ended};
use super::timeline::Timeline;
use super::visitor;

/// Services of one project that only fill the host.
const OF_PROJECT: usize = 35;

/// Services that are measured around each number.
const WINDOW: usize = 10;

/// A build of that many outputs, one after the other, and their deployments.
const FILL_LIMIT: Duration = Duration::from_secs(180);

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    #[command(flatten)]
    stage: Stage,
    /// Measure the ten services around this number
    #[arg(long, default_values_t = [10, 500])]
    at: Vec<usize>,
    /// Only bring the host up to where the measurement would begin
    #[arg(long)]
    fill_only: bool,
}

impl Scale {
    pub(crate) fn run(&self) -> Result<()> {
        let kennel = self.stage.open("")?;
        let mut figures = Map::new();
        let mut whole = Vec::new();
        for at in &self.at {
            fill(&kennel, at.saturating_sub(WINDOW / 2))?;
            if self.fill_only {
                continue;
            }
            let (took, steps) = measure(&kennel, *at)?;
            println!("\n{} services run now", running(&kennel)?);
            let title = format!("the {at}th service, ms");
            let rows = steps.steps().chain([("webhook to first 200", &took)]);
            reports::table(&title, rows);
            let steps = steps.steps().map(|(name, series)| (name.to_owned(), series.json()));
            figures.insert(
                at.to_string(),
                json!({ "whole_ms": took.json(), "steps_ms": steps.collect::<Map<_, _>>() }),
            );
            whole.push((*at, took.median()));
        }
        if let ([(few, least)], [(many, most)]) =
            (whole.get(..1).unwrap_or_default(), whole.get(1..2).unwrap_or_default())
        {
            println!("\nthe {many}th takes {:.2} times as long as the {few}th", most / least);
        }
        self.stage.keep("scale", &Value::Object(figures))
    }
}

/// How many deployed services run.
fn running(kennel: &Kennel) -> Result<usize> {
    let units = kennel.host().run(&[
        "systemctl",
        "list-units",
        "--plain",
        "--no-legend",
        "--state=running",
        "kennel-*-main-*@*.service",
        "kennel-*-b*-api@*.service",
    ])?;
    Ok(units.lines().count())
}

/// Brings the host up to so many services, many of them in one push.
fn fill(kennel: &Kennel, wanted: usize) -> Result<()> {
    for number in 0.. {
        let there = running(kennel)?;
        if there >= wanted {
            return Ok(());
        }
        let services = OF_PROJECT.min(wanted - there);
        let project = kennel.project(&fresh(&format!("fill-{there}-{number}")))?;
        let mut sources = kennel.sources();
        for service in 0..services {
            sources = sources.service(&format!("s{service}"), "filling");
        }
        let pushed = project.push("main", &sources, "fill")?;
        project.expect_build(&pushed.after, "succeeded", FILL_LIMIT)?;
        kennel.wait_for(&format!("{} services", there + services), FILL_LIMIT, || {
            Ok((running(kennel)? >= there + services).then_some(()))
        })?;
        until_jobs_ended(kennel)?;
        println!("{} services", there + services);
    }
    Ok(())
}

/// Ten more, each a new branch of one project with one commit of its own, so that little is fetched
/// and what Nix builds is in the store already.
fn measure(kennel: &Kennel, at: usize) -> Result<(Series, Timeline)> {
    let project = kennel.project(&fresh(&format!("one-{at}")))?;
    let sources = kennel.sources().service("api", "one");
    let (mut took, mut steps) = (Series::default(), Timeline::new());
    // The first one fills the store and starts the programs.
    let first = project.commit("b0", &sources, "The service")?;
    deploy(kennel, &project, &first)?;
    let edits: Vec<_> = (1..=WINDOW)
        .map(|number| Edit {
            branch: format!("b{number}"),
            path: "branch".into(),
            text: number.to_string(),
        })
        .collect();
    for pushed in project.commit_edits(&first.after, &edits)? {
        until_jobs_ended(kennel)?;
        let (sent, served) = deploy(kennel, &project, &pushed)?;
        took.add(served);
        let unit = format!("kennel-{}-{}-api@", project.name(), pushed.branch);
        steps.add(kennel, sent, served, &unit)?;
    }
    until_jobs_ended(kennel)?;
    Ok((took, steps))
}

fn deploy(kennel: &Kennel, project: &Project, pushed: &Pushed) -> Result<(SystemTime, Duration)> {
    let requests = project.asks(&pushed.event())?;
    let request = requests.first().context("a push makes no request")?.bytes();
    let sent = SystemTime::now();
    let host = project.address("api", &pushed.branch);
    let seen = visitor::push(&kennel.host().netns()?, request, &host, "one")
        .map_err(|err| kennel.explain(&err))?;
    Ok((sent, seen.served))
}
