//! `cargo xtask bench pipeline`: from a webhook to the first 200 of the new version.

use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value, json};
use xtask::kennel::Kennel;
use xtask::project::Project;
use xtask::sources::Sources;

use super::by_hand::{ByHand, Commands};
use super::reports;
use super::series::Series;
use super::stage::{Stage, fresh, go_cold, until_jobs_ended};
use super::timeline::Timeline;
use super::visitor::{self, Seen};

/// No old version is to be stopped in the middle of a measurement.
const DRAIN: &str = "drain_secs = 3600";

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Pipeline {
    #[command(flatten)]
    stage: Stage,
    /// How often each way is measured, cold and warm
    #[arg(long, default_value_t = 20)]
    pairs: usize,
}

/// One of cold and warm.
#[derive(Debug)]
struct Case {
    name: &'static str,
    kennel: Series,
    by_hand: Series,
    /// Kennel's time minus that of the run by hand beside it.
    overhead: Series,
    answered: Series,
    steps: Timeline,
    commands: Commands,
}

impl Pipeline {
    pub(crate) fn run(&self) -> Result<()> {
        let kennel = self.stage.open("")?;
        let pusher = Pusher::new(&kennel)?;
        let mut by_hand = pusher.by_hand()?;
        let (mut cold, mut warm) = (Case::new("cold"), Case::new("warm"));
        // The first build copies the tools into the store.
        pusher.push("first")?;
        by_hand.deploy(&pusher.commit_by_hand("first")?)?;
        for round in 0..self.pairs {
            // Who begins takes turns: the second one finds a busier disk.
            let of_kennel = |cold: &mut Case, warm: &mut Case| -> Result<[f64; 2]> {
                go_cold(&kennel)?;
                let first = cold.push(&pusher, round)?;
                until_jobs_ended(&kennel)?;
                Ok([first, warm.push(&pusher, round)?])
            };
            let mut of_hand = |cold: &mut Case, warm: &mut Case| -> Result<[f64; 2]> {
                go_cold(&kennel)?;
                let first = cold.by_hand(&pusher, &mut by_hand, round)?;
                Ok([first, warm.by_hand(&pusher, &mut by_hand, round)?])
            };
            let (ours, theirs) = if round % 2 == 0 {
                let ours = of_kennel(&mut cold, &mut warm)?;
                (ours, of_hand(&mut cold, &mut warm)?)
            } else {
                let theirs = of_hand(&mut cold, &mut warm)?;
                (of_kennel(&mut cold, &mut warm)?, theirs)
            };
            cold.overhead.add_number(ours[0] - theirs[0]);
            warm.overhead.add_number(ours[1] - theirs[1]);
            println!(
                "{:>3}  cold {:>5.0} - {:>5.0} = {:>5.0} ms   warm {:>5.0} - {:>5.0} = {:>5.0} ms",
                round + 1,
                ours[0],
                theirs[0],
                ours[0] - theirs[0],
                ours[1],
                theirs[1],
                ours[1] - theirs[1]
            );
        }
        cold.show();
        warm.show();
        self.stage.keep("pipeline", &json!({ "cold": cold.json(), "warm": warm.json() }))
    }
}

/// Who pushes to both.
#[derive(Debug)]
struct Pusher {
    kennel: Kennel,
    project: Project,
    /// Of which Kennel is told nothing.
    untold: Project,
}

impl Pusher {
    fn new(kennel: &Kennel) -> Result<Self> {
        let project = kennel.project(&fresh("bench"))?;
        let untold = kennel.project(&fresh("untold"))?;
        Ok(Self { kennel: kennel.clone(), project, untold })
    }

    fn by_hand(&self) -> Result<ByHand> {
        // Any service's: they differ in names and limits only.
        self.push("shown")?;
        until_jobs_ended(&self.kennel)?;
        let name = self.project.name();
        let unit = format!("kennel-{name}-main-api@*.service");
        let shown =
            self.kennel.host().run(&["sh", "-c", &format!("ls /etc/systemd/system/{unit}")])?;
        let file = shown.lines().next().context("the service has no unit file")?;
        ByHand::new(&self.kennel, &self.untold.repository(), file)
    }

    /// A commit that changes the service, so that Nix evaluates and builds.
    fn sources(&self, version: &str) -> Sources {
        let manifest = format!("[services.api]\nhealth_check = \"/health\"\n{DRAIN}\n");
        self.kennel.sources().service("api", version).kennel_toml(&manifest)
    }

    fn push(&self, version: &str) -> Result<(SystemTime, Seen)> {
        let version = format!("k-{version}");
        let pushed = self.project.commit("main", &self.sources(&version), &version)?;
        let requests = self.project.asks(&pushed.event())?;
        let request = requests.first().context("a push makes no request")?.bytes();
        let netns = self.kennel.host().netns()?;
        let address = self.project.address("api", "main");
        let sent = SystemTime::now();
        let seen = visitor::push(&netns, request, &address, &version)
            .map_err(|err| self.kennel.explain(&err))?;
        Ok((sent, seen))
    }

    fn commit_by_hand(&self, version: &str) -> Result<String> {
        let version = format!("h-{version}");
        Ok(self.untold.commit("main", &self.sources(&version), &version)?.after)
    }

    fn service(&self) -> String {
        format!("kennel-{}-main-api@", self.project.name())
    }
}

impl Case {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            kennel: Series::default(),
            by_hand: Series::default(),
            overhead: Series::default(),
            answered: Series::default(),
            steps: Timeline::new(),
            commands: Commands::default(),
        }
    }

    /// In milliseconds.
    fn push(&mut self, pusher: &Pusher, round: usize) -> Result<f64> {
        let (sent, seen) = pusher.push(&format!("{}-{round}", self.name))?;
        self.kennel.add(seen.served);
        self.answered.add(seen.answered);
        self.steps.add(&pusher.kennel, sent, seen.served, &pusher.service())?;
        Ok(seen.served.as_secs_f64() * 1000.0)
    }

    fn by_hand(&mut self, pusher: &Pusher, by_hand: &mut ByHand, round: usize) -> Result<f64> {
        let commit = pusher.commit_by_hand(&format!("{}-{round}", self.name))?;
        let took = by_hand.deploy(&commit)?;
        self.by_hand.add(took.whole);
        self.commands.add(&took);
        Ok(took.whole.as_secs_f64() * 1000.0)
    }

    fn rows(&self) -> [(&'static str, &Series); 4] {
        [
            ("Kennel: webhook sent to first 200", &self.kennel),
            ("by hand", &self.by_hand),
            ("Kennel's own, pair by pair", &self.overhead),
            ("Kennel: webhook answered", &self.answered),
        ]
    }

    fn show(&self) {
        reports::table(&format!("{}, ms", self.name), self.rows());
        reports::table("Kennel, step by step, ms", self.steps.steps());
        let commands = self.commands.0.iter().map(|(name, series)| (name.as_str(), series));
        reports::table("by hand, command by command, ms", commands);
    }

    fn json(&self) -> Value {
        let steps = self.steps.steps().map(|(name, series)| (name.to_owned(), series.json()));
        let commands = self.commands.0.iter().map(|(name, series)| (name.clone(), series.json()));
        json!({
            "kennel_ms": self.kennel.json(),
            "by_hand_ms": self.by_hand.json(),
            "overhead_ms": self.overhead.json(),
            "answered_ms": self.answered.json(),
            "steps_ms": steps.collect::<Map<_, _>>(),
            "commands_ms": commands.collect::<Map<_, _>>(),
        })
    }
}
