//! `cargo xtask bench router`: the router beside nginx and HAProxy.
//!
//! All of it happens in a process and network namespace of its own, so that ports are free and
//! nothing outlives the measurement, however it ends. Each proxy has one core; what loads it and what
//! stands behind it have the others. They take turns, and what is compared comes from the same
//! rounds. CPU per request stands beside requests a second because it depends far less on what else
//! the machine does; a turn in which that was too much is done again.

mod account;
mod asking;
mod cases;
mod figures;
mod ground;
mod handshakes;
mod idle;
mod paced;
mod proxies;
mod report;
mod sink;
mod tools;

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use xtask::checkout::Checkout;
use xtask::needs;
use xtask::product::{self, Profile};

use self::account::Account;
use self::cases::{CASES, Case, Layout};
use self::figures::Figures;
use self::ground::Ground;
use self::proxies::{Changes, Who};

/// Cores that others may have used in a turn that counts.
const FOREIGN: f64 = 0.1;
/// How often one turn is done again at most.
const AGAIN: usize = 2;
/// Connections at rest.
const AT_REST: usize = 10_000;

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Router {
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each turn takes
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the cases with this in their names; may be repeated
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// Also write the figures into docs/performance.md
    #[arg(long)]
    write: bool,
    /// Measure this program instead of building one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Inside of the namespaces already
    #[arg(long, hide = true)]
    inside: bool,
}

impl Router {
    pub(crate) fn run(&self) -> Result<()> {
        if self.inside { self.measure() } else { self.enclose() }
    }

    /// Runs this command again in namespaces of its own. When it ends, or whoever started it does,
    /// the kernel ends everything in there.
    fn enclose(&self) -> Result<()> {
        needs::install_for_router_bench()?;
        ensure!(
            rustix::process::geteuid().is_root(),
            "namespaces are made by root; run it with sudo"
        );
        let checkout = Checkout::find()?;
        let mut arguments: Vec<_> = env::args_os().skip(1).collect();
        arguments.push("--inside".into());
        if self.program.is_none() {
            let program = product::program(&checkout, Profile::Release, "kennel-router")?;
            arguments.extend(["--program".into(), program.into()]);
        }
        let status = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(["unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--"])
            .arg(env::current_exe().context("this program has no path")?)
            .args(arguments)
            .status()
            .context("cannot run setpriv")?;
        ensure!(status.success(), "the measurement failed ({status})");
        Ok(())
    }

    fn measure(&self) -> Result<()> {
        let program = self.program.as_deref().context("--inside is not for people")?;
        let checkout = Checkout::find()?;
        let cases: Vec<&Case> = CASES.iter().filter(|case| self.wants(case.name)).collect();
        let ground = Ground::prepare(&checkout, program)?;
        println!("{ground}");
        let mut figures = Figures::new(self.rounds, self.seconds);
        for layout in [Layout::Own, Layout::Shared] {
            let here: Vec<&Case> = cases.iter().copied().filter(|it| it.layout == layout).collect();
            if !here.is_empty() {
                self.take_turns(&ground, layout, &here, &mut figures)?;
            }
        }
        if self.wants("latency") {
            self.half_load(&ground, &mut figures)?;
        }
        if self.wants("idle") {
            for who in [Who::Nginx, Who::Haproxy, Who::Kennel] {
                println!("idle: {who}");
                figures.idle.insert(who, idle::each(&ground, who, AT_REST)?);
            }
        }
        let text = report::markdown(&ground, &figures);
        println!("\n{text}");
        if self.write {
            report::write(checkout.root(), &text)?;
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    fn take_turns(
        &self,
        ground: &Ground,
        layout: Layout,
        cases: &[&Case],
        figures: &mut Figures,
    ) -> Result<()> {
        let stage = ground.stage(layout)?;
        let mut account = Account::new();
        for case in cases {
            for who in case.who {
                case.check(&stage, *who).with_context(|| format!("{}: {who}", case.name))?;
            }
            for round in 0..self.rounds {
                let mut order = case.who.to_vec();
                if round % 2 == 1 {
                    order.reverse();
                }
                for who in order {
                    let proxy = stage.proxy(who)?;
                    let seconds = Duration::from_secs(self.seconds);
                    let changes = (who == Who::Changing).then(|| Changes::start(ground, proxy));
                    let turn =
                        figures.turn(&mut account, proxy, || case.load(&stage, proxy, seconds));
                    let turn = turn.with_context(|| format!("{}: {who}", case.name))?;
                    changes.map(Changes::stop).transpose()?;
                    println!("{:<14} {who:<22} {turn}", case.name);
                    figures.add(case.name, who, &turn);
                }
            }
        }
        Ok(())
    }

    /// All of them at half of what the slowest can do.
    fn half_load(&self, ground: &Ground, figures: &mut Figures) -> Result<()> {
        let stage = ground.stage(Layout::Own)?;
        let mut account = Account::new();
        let all = [Who::Nginx, Who::Haproxy, Who::Kennel];
        let known: Vec<f64> =
            all.iter().filter_map(|who| figures.rate(cases::KEPT, *who)).collect();
        let most = if known.len() == all.len() {
            known
        } else {
            let case =
                CASES.iter().find(|case| case.name == cases::KEPT).context("no such case")?;
            let second = Duration::from_secs(1);
            let each =
                all.iter().map(|who| Ok(case.load(&stage, stage.proxy(*who)?, second)?.rate()));
            each.collect::<Result<_>>()?
        };
        let rate = most.into_iter().fold(f64::INFINITY, f64::min) / 2.0;
        if !rate.is_finite() || rate < 1.0 {
            bail!("there is no half of {rate}");
        }
        figures.paced_at = rate;
        for round in 0..self.rounds {
            let mut order = all.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for who in order {
                let proxy = stage.proxy(who)?;
                let seconds = Duration::from_secs(self.seconds);
                let mut latencies = None;
                let turn = figures.turn(&mut account, proxy, || {
                    let (done, paced) = paced::run(proxy, rate, seconds)?;
                    latencies = Some(paced);
                    Ok(done)
                })?;
                let latencies = latencies.context("nothing was measured")?;
                println!("{:<14} {who:<22} {latencies}; {turn}", "latency");
                figures.paced.entry(who).or_default().add(&latencies, turn.cpu);
            }
        }
        Ok(())
    }
}
