//! What was measured: turn by turn, and the medians.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use super::account::Account;
use super::paced::Latencies;
use super::proxies::{Proxy, Who};
use super::tools::Done;
use super::{AGAIN, FOREIGN};
use crate::commands::bench::series::Series;

/// All of it.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) rounds: usize,
    pub(super) seconds: u64,
    of: BTreeMap<(&'static str, Who), Row>,
    /// Bytes of memory per connection at rest.
    pub(super) idle: BTreeMap<Who, super::idle::AtRest>,
    pub(super) paced: BTreeMap<Who, Paced>,
    /// Requests a second of the even load.
    pub(super) paced_at: f64,
    /// Turns done again because others had used the machine.
    pub(super) disturbed: usize,
    /// Turns that count although they did.
    pub(super) accepted: usize,
    turns: usize,
}

/// One proxy in one case.
#[derive(Default)]
pub(super) struct Row {
    /// A second.
    pub(super) rate: Series,
    /// Microseconds of CPU for each.
    pub(super) cpu: Series,
    /// Milliseconds.
    pub(super) p99: Series,
    /// Cores that the proxy used.
    pub(super) cores: Series,
    /// Why there are fewer of them.
    pub(super) failed: Option<String>,
}

/// One proxy under an even load, in milliseconds, and CPU in microseconds.
#[derive(Default)]
pub(super) struct Paced {
    pub(super) p50: Series,
    pub(super) p99: Series,
    pub(super) p999: Series,
    pub(super) cpu: Series,
}

impl Paced {
    pub(super) fn add(&mut self, latencies: &Latencies, cpu: f64) {
        self.p50.add(latencies.p50);
        self.p99.add(latencies.p99);
        self.p999.add(latencies.p999);
        self.cpu.add_number(cpu);
    }
}

/// One turn of one proxy.
pub(super) struct Turn {
    pub(super) done: Done,
    /// Microseconds of CPU for each request.
    pub(super) cpu: f64,
    /// Cores that the proxy used.
    pub(super) cores: f64,
    /// Cores that others used.
    pub(super) foreign: f64,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, cpu, cores, foreign } = self;
        write!(f, "{:>9.1}/s {cpu:>9.1} µs CPU {cores:>5.2} cores", done.rate())?;
        if done.p99_ms > 0.0 {
            write!(f, " p99 {:.2} ms", done.p99_ms)?;
        }
        if *foreign > FOREIGN {
            write!(f, ", others {foreign:.2}")?;
        }
        if done.errors > 0 {
            write!(f, ", {} errors", done.errors)?;
        }
        Ok(())
    }
}

impl Figures {
    pub(super) fn new(rounds: usize, seconds: u64) -> Self {
        Self { rounds, seconds, ..Self::default() }
    }

    /// Measures once, and again when that cannot count.
    pub(super) fn turn(
        &mut self,
        account: &mut Account,
        proxy: &Proxy,
        mut load: impl FnMut() -> Result<Done>,
    ) -> Result<Turn> {
        let mut best: Option<Turn> = None;
        for _ in 0..=AGAIN {
            // A machine that is never quiet must not make this take for ever.
            if best.is_some() && self.disturbed > 10 + self.turns / 4 {
                break;
            }
            let before = account.look(proxy)?;
            let done = load()?;
            let spent = account.since(&before, proxy)?;
            let cpu = spent.proxy_secs * 1e6 / done.count.max(1.0);
            let cores = spent.proxy_secs / spent.secs;
            let turn = Turn { done, cpu, cores, foreign: spent.foreign };
            if turn.foreign <= FOREIGN && turn.done.errors == 0 {
                self.turns += 1;
                return Ok(turn);
            }
            self.disturbed += 1;
            let better = best.as_ref().is_none_or(|best| {
                (turn.done.errors, turn.foreign) < (best.done.errors, best.foreign)
            });
            if better {
                best = Some(turn);
            }
        }
        self.turns += 1;
        // It counts in the end, so one fewer was for nothing.
        self.disturbed = self.disturbed.saturating_sub(1);
        self.accepted += 1;
        best.ok_or_else(|| anyhow::anyhow!("not once measured"))
    }

    /// A turn with errors is no figure.
    pub(super) fn add(&mut self, case: &'static str, who: Who, turn: &Turn) {
        let row = self.of.entry((case, who)).or_default();
        if turn.done.errors > 0 {
            row.failed = Some(format!("{} errors", turn.done.errors));
            return;
        }
        if turn.done.count < 1.0 {
            row.failed = Some("no answer".to_owned());
            return;
        }
        row.rate.add_number(turn.done.rate());
        row.cpu.add_number(turn.cpu);
        row.p99.add_number(turn.done.p99_ms);
        row.cores.add_number(turn.cores);
    }

    pub(super) fn row(&self, case: &'static str, who: Who) -> Option<&Row> {
        self.of.get(&(case, who))
    }

    /// The median of what one did in a second.
    pub(super) fn rate(&self, case: &'static str, who: Who) -> Option<f64> {
        self.row(case, who).filter(|row| !row.rate.is_empty()).map(|row| row.rate.median())
    }

    /// The median of its CPU for each.
    pub(super) fn cpu(&self, case: &'static str, who: Who) -> Option<f64> {
        self.row(case, who).filter(|row| !row.cpu.is_empty()).map(|row| row.cpu.median())
    }
}
