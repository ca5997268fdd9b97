//! Where the time of one push went: the moments that the host's journal knows, in their order.
//!
//! The journal has when systemd began to start each unit and when it was up, and what each program
//! said at each step. Nothing is measured for this that an operator could not read up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::kennel::Kennel;

use super::series::Series;

/// systemd.journal-fields(7), sd-messages.h: a unit is being started, and has been.
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";

/// One moment of a push.
struct Moment {
    /// What has just been done.
    done: &'static str,
    /// Whose line it is: the beginning of a unit's name.
    unit: &'static str,
    said: Said,
}

/// How its line is recognised.
enum Said {
    /// By its message id.
    Id(&'static str),
    /// By a part of its text.
    Text(&'static str),
}

const fn starting(done: &'static str, unit: &'static str) -> Moment {
    Moment { done, unit, said: Said::Id(STARTING) }
}

const fn started(done: &'static str, unit: &'static str) -> Moment {
    Moment { done, unit, said: Said::Id(STARTED) }
}

const fn told(done: &'static str, unit: &'static str, text: &'static str) -> Moment {
    Moment { done, unit, said: Said::Text(text) }
}

/// From the webhook to the new version. Those of programs that ran already are not there.
const MOMENTS: [Moment; 21] = [
    starting("webhook arrives, receiver is activated", "kennel-webhook.service"),
    started("receiver: unit start", "kennel-webhook.service"),
    told("receiver: verify, commit", "kennel-webhook.service", "queued"),
    starting("bell rings, dispatcher is activated", "kennel-dispatch.service"),
    started("dispatcher: unit start, databases, D-Bus", "kennel-dispatch.service"),
    told("dispatcher: decide", "kennel-dispatch.service", "push of"),
    starting("dispatcher: ask for the build", "kennel-build@"),
    started("build: unit start", "kennel-build@"),
    told("build: claim", "kennel-build@", "begins"),
    told("build: configuration, space", "kennel-build@", "fetching"),
    told("build: git fetch, kennel.toml", "kennel-build@", "fetched"),
    told("build: plan", "kennel-build@", "asks for"),
    told("build: Nix's system", "kennel-build@", "building api"),
    told("build: nix build", "kennel-build@", "/nix/store"),
    told("build: end of the row", "kennel-build@", "succeeded"),
    told("dispatcher: hand over", "kennel-dispatch.service", "deployment"),
    starting("dispatcher: ask for the deployment", "kennel-deploy@"),
    started("deploy: unit start, database, D-Bus", "kennel-deploy@"),
    starting("deploy: claim, root, port, files", SERVICE),
    started("service: unit start", SERVICE),
    told("health, table, reload", "kennel-router.service", "generation"),
];

/// Stands for the deployed service's own unit.
const SERVICE: &str = "SERVICE";

/// From the last of them to the visitor's first answer.
const LAST: &str = "first 200";

/// Each step's time over all runs, in order.
#[derive(Debug)]
pub(crate) struct Timeline(Vec<(&'static str, Series)>);

impl Timeline {
    /// Of no run yet.
    pub(crate) fn new() -> Self {
        let names = MOMENTS.iter().map(|moment| moment.done).chain([LAST]);
        Self(names.map(|name| (name, Series::default())).collect())
    }

    /// Adds a run: sent at `sent`, served after `served`, by the unit that begins with `service`.
    pub(crate) fn add(
        &mut self,
        kennel: &Kennel,
        sent: SystemTime,
        served: Duration,
        service: &str,
    ) -> Result<()> {
        let sent = sent.duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let lines = lines(kennel, sent)?;
        let mut last = sent;
        for (moment, (_, series)) in MOMENTS.iter().zip(&mut self.0) {
            let line = lines.iter().find(|line| line.at >= sent && line.is(moment, service));
            let Some(line) = line else { continue };
            // Two programs work side by side now and then: what was over before its turn took none.
            series.add(line.at.saturating_sub(last));
            last = last.max(line.at);
        }
        if let Some((_, series)) = self.0.last_mut() {
            series.add((sent + served).saturating_sub(last));
        }
        Ok(())
    }

    /// The steps that any run had.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&'static str, &Series)> {
        self.0.iter().filter(|(_, series)| !series.is_empty()).map(|(name, series)| (*name, series))
    }
}

struct Line {
    /// Since 1970.
    at: Duration,
    unit: String,
    id: String,
    text: String,
}

impl Line {
    fn is(&self, moment: &Moment, service: &str) -> bool {
        let unit = if moment.unit == SERVICE { service } else { moment.unit };
        self.unit.starts_with(unit)
            && match moment.said {
                Said::Id(id) => self.id == id,
                Said::Text(text) => self.id.is_empty() && self.text.contains(text),
            }
    }
}

/// Everything in the journal since then.
fn lines(kennel: &Kennel, since: Duration) -> Result<Vec<Line>> {
    let since = format!("--since=@{:.6}", since.as_secs_f64());
    let text = kennel.host().run(&["journalctl", "--no-pager", "--output=json", &since])?;
    let lines = text.lines().filter_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let at = field("_SOURCE_REALTIME_TIMESTAMP").or_else(|| field("__REALTIME_TIMESTAMP"))?;
        Some(Line {
            at: Duration::from_micros(at.parse().ok()?),
            // systemd's own lines are about a unit.
            unit: field("UNIT").or_else(|| field("_SYSTEMD_UNIT"))?,
            id: field("MESSAGE_ID").unwrap_or_default(),
            text: field("MESSAGE").unwrap_or_default(),
        })
    });
    Ok(lines.collect())
}
