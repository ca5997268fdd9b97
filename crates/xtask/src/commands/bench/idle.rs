//! `cargo xtask bench idle`: what runs when there is nothing to do, and what the first webhook
//! after that costs beside a program that does nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use xtask::base;
use xtask::checkout::Checkout;
use xtask::forge::{Event, Forge};
use xtask::kennel::Kennel;
use xtask::resident;
use xtask::sources;

use super::reports;
use super::series::Series;
use super::stage::{Stage, fresh, go_cold, until_jobs_ended};
use super::visitor;

/// The receiver leaves a minute after its last request.
const IDLE_LIMIT: Duration = Duration::from_secs(100);

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    stage: Stage,
    /// Services with a route each
    #[arg(long, default_value_t = 10)]
    routes: usize,
    /// Looks at the processes
    #[arg(long, default_value_t = 10)]
    samples: u32,
    /// Seconds over which the looks are spread
    #[arg(long, default_value_t = 300)]
    over: u64,
    /// First webhooks, each beside a start of the minimal program
    #[arg(long, default_value_t = 20)]
    pairs: usize,
}

impl Idle {
    pub(crate) fn run(&self) -> Result<()> {
        let kennel = self.stage.open("")?;
        let (pss, others) = if self.samples > 0 { self.look(&kennel)? } else { Default::default() };
        let (ours, minimal, more) =
            if self.pairs > 0 { self.activate(&kennel)? } else { Default::default() };
        if self.samples > 0 {
            reports::table(
                "with nothing to do",
                [("the router's PSS, MiB", &pss), ("other resident processes of Kennel", &others)],
            );
        }
        if self.pairs > 0 {
            reports::table(
                "first webhook after idleness, ms",
                [
                    ("Kennel, durable and answered", &ours),
                    ("a minimal program in the same unit", &minimal),
                    ("Kennel's own, pair by pair", &more),
                ],
            );
        }
        let figures = json!({
            "router_pss_mib": pss.json(),
            "other_processes": others.json(),
            "webhook_ms": ours.json(),
            "minimal_ms": minimal.json(),
            "webhook_more_ms": more.json(),
        });
        self.stage.keep("idle", &figures)
    }

    /// Looks at all processes of Kennel's units, again and again.
    fn look(&self, kennel: &Kennel) -> Result<(Series, Series)> {
        let project = kennel.project(&fresh("idle"))?;
        let mut sources = kennel.sources();
        for number in 0..self.routes {
            sources = sources.service(&format!("s{number}"), "idle");
        }
        let pushed = project.push("main", &sources, "ten routes")?;
        project.expect_build(&pushed.after, "succeeded", IDLE_LIMIT)?;
        for number in 0..self.routes {
            let address = project.address(&format!("s{number}"), "main");
            kennel.expect_page(&address, "/version", "idle", IDLE_LIMIT)?;
        }
        until_jobs_ended(kennel)?;
        println!("{} routes; waiting until the receiver leaves", self.routes);
        resident::expect_only_router(kennel, IDLE_LIMIT)?;
        let (mut pss, mut others) = (Series::default(), Series::default());
        let pause = Duration::from_secs(self.over) / self.samples.saturating_sub(1).max(1);
        for sample in 0..self.samples {
            if sample > 0 {
                thread::sleep(pause);
            }
            let found = resident::processes(kennel)?;
            let (router, rest): (Vec<_>, Vec<_>) =
                found.iter().partition(|process| process.unit == resident::ROUTER);
            for process in &rest {
                println!("resident: {process}");
            }
            #[expect(clippy::cast_precision_loss, reason = "a few")]
            others.add_number(rest.len() as f64);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            pss.add_number(router.iter().map(|it| it.pss_kib).sum::<u64>() as f64 / 1024.0);
        }
        Ok((pss, others))
    }

    /// The first webhook and the minimal program's first request, by turns.
    fn activate(&self, kennel: &Kennel) -> Result<(Series, Series, Series)> {
        // Kept, and built by nobody.
        let project =
            kennel.project_on(Forge::Forgejo, &fresh("first"), "branches = [\"none\"]")?;
        install_minimal(kennel)?;
        let own = kennel.host().path("/run/kennel/webhook.sock")?;
        let minimal = kennel.host().path("/run/kennel/minimal.sock")?;
        let (mut ours, mut theirs, mut more) = Default::default();
        for round in 0..self.pairs {
            let event = Event::Push {
                branch: "main".to_owned(),
                before: format!("{:040x}", round + 1),
                after: format!("{:040x}", round + 2),
            };
            let request = project.asks(&event)?.first().context("no request")?.bytes();
            let rest = || -> Result<()> {
                go_cold(kennel)?;
                kennel.host().run(&["systemctl", "stop", "minimal.service"])?;
                Ok(())
            };
            let ask = |socket| -> Result<Duration> {
                rest()?;
                let (took, answer) = visitor::ask_socket(socket, &request)?;
                anyhow::ensure!(answer.starts_with("HTTP/1.1 202"), "it was answered {answer:?}");
                Ok(took)
            };
            let (first, second) = if round % 2 == 0 {
                let first = ask(&own)?;
                (first, ask(&minimal)?)
            } else {
                let second = ask(&minimal)?;
                (ask(&own)?, second)
            };
            Series::add(&mut ours, first);
            Series::add(&mut theirs, second);
            Series::add_number(&mut more, (first.as_secs_f64() - second.as_secs_f64()) * 1000.0);
        }
        Ok((ours, theirs, more))
    }
}

/// A copy of the receiver's unit and socket that starts a program which only answers 202.
fn install_minimal(kennel: &Kennel) -> Result<()> {
    let checkout = Checkout::find()?;
    let root = kennel.host().root();
    let program = sources::compile(&checkout, "minimal")?;
    fs::write(root.join("usr/lib/kennel/minimal"), program)?;
    kennel.host().run(&["chmod", "755", "/usr/lib/kennel/minimal"])?;
    for kind in ["service", "socket"] {
        let unit = root.join(format!("usr/lib/systemd/system/kennel-webhook.{kind}"));
        let text = fs::read_to_string(unit)?
            .replace("kennel-webhook.socket", "minimal.socket")
            .replace("/usr/lib/kennel/kennel-webhook", "/usr/lib/kennel/minimal")
            .replace("/run/kennel/webhook.sock", "/run/kennel/minimal.sock");
        base::write(&root.join(format!("etc/systemd/system/minimal.{kind}")), text)?;
    }
    kennel.host().sh("systemctl daemon-reload; systemctl restart minimal.socket")?;
    Ok(())
}
