//! What the router has seen of services, beside what is seen now.

use std::path::Path;
use std::time::Duration;

use kennel_core::{DeploymentId, RouterHealth, ServiceHealth, Timestamp};
use serde::Serialize;
use tokio::time::timeout;

use super::health::{Health, Verdict};
use super::router;
use crate::{clock, say};

/// The router answers from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the router has seen of all services.
#[derive(Debug, Default)]
pub(crate) struct Monitor(RouterHealth);

/// What it has seen of one. The fields are the keys of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Seen {
    /// Since when it passes no requests to it.
    #[serde(serialize_with = "clock::serialize_maybe")]
    out_since: Option<Timestamp>,
    /// Looks in a row that failed.
    strikes: u32,
    /// When it looked last.
    #[serde(serialize_with = "clock::serialize_maybe")]
    looked_at: Option<Timestamp>,
    took_ms: Option<u64>,
    /// What it saw, in words.
    answer: Option<String>,
    #[serde(skip)]
    healthy: Option<bool>,
}

impl Monitor {
    /// Asks the router. One that does not answer is told of elsewhere.
    pub(crate) async fn ask(socket: &Path) -> Self {
        let asked = timeout(PATIENCE, router::get(socket, "/health")).await;
        Self(asked.ok().and_then(Result::ok).unwrap_or_default())
    }

    /// A deployment's, if the router looks after it.
    pub(crate) fn of(&self, deployment: DeploymentId) -> Option<Seen> {
        self.0.services.get(&deployment).map(Seen::from)
    }
}

impl From<&ServiceHealth> for Seen {
    fn from(it: &ServiceHealth) -> Self {
        let last = it.last.as_ref();
        Self {
            out_since: it.out_since,
            strikes: it.strikes,
            looked_at: last.map(|look| look.at),
            took_ms: last.map(|look| look.took_ms),
            answer: last.map(|look| look.answer.clone()),
            healthy: last.map(|look| look.healthy),
        }
    }
}

impl Seen {
    /// Both together. What systemd says of the unit tells more than that nobody gets through to it.
    pub(crate) fn beside(&self, now: Option<&Verdict>) -> Option<Verdict> {
        let answer = self.answer.clone().unwrap_or_default();
        match (now, self.out_since) {
            (Some(now), _) if matches!(now.health, Health::Down | Health::Starting) => {
                Some(now.clone())
            }
            (now, Some(since)) => {
                let answers = now.is_some_and(|now| now.health == Health::Healthy);
                let detail = say::out_of_routes(&clock::rfc3339(since), &answer, answers);
                Some(Verdict { health: Health::Unhealthy, detail: Some(detail) })
            }
            (Some(now), None) => Some(now.clone()),
            (None, None) => self.healthy.map(|healthy| match healthy {
                true => Verdict { health: Health::Healthy, detail: None },
                false => Verdict { health: Health::Unhealthy, detail: Some(answer) },
            }),
        }
    }

    /// Without what changes although nothing happens.
    pub(crate) fn forget_look(&mut self) {
        self.looked_at = None;
        self.took_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use kennel_core::Look;

    use super::*;

    fn seen(out: bool, healthy: bool) -> Seen {
        let at = Timestamp::from_millis(1_796_000_000_000);
        let answer = if healthy { "it answered 200" } else { "it answered 500 instead of 200" };
        Seen::from(&ServiceHealth {
            out_since: out.then_some(at),
            strikes: 3,
            last: Some(Look { at, took_ms: 2, healthy, answer: answer.into() }),
        })
    }

    #[test]
    fn what_both_say() {
        let now =
            |health, detail: Option<&str>| Verdict { health, detail: detail.map(str::to_owned) };
        let well = now(Health::Healthy, None);
        let unwell = now(Health::Unhealthy, Some("/health answered 500"));
        let down = now(Health::Down, Some("its unit is failed (failed)"));
        let said = |verdict: Option<Verdict>| match verdict {
            Some(Verdict { health, detail }) => {
                format!("{health:?}: {}", detail.unwrap_or_default())
            }
            None => "nothing".to_owned(),
        };
        let all = [
            said(seen(true, false).beside(Some(&unwell))),
            said(seen(true, false).beside(Some(&well))),
            said(seen(true, false).beside(Some(&down))),
            said(seen(true, false).beside(None)),
            said(seen(false, false).beside(Some(&well))),
            said(seen(false, false).beside(None)),
            said(seen(false, true).beside(None)),
            said(Seen { healthy: None, ..seen(false, true) }.beside(None)),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        Unhealthy: the router passes no requests to it since 2026-11-30T00:53:20.000Z: it answered 500 instead of 200
        Unhealthy: the router passes no requests to it since 2026-11-30T00:53:20.000Z: it answered 500 instead of 200. It answers now, and serves again after the router's next look
        Down: its unit is failed (failed)
        Unhealthy: the router passes no requests to it since 2026-11-30T00:53:20.000Z: it answered 500 instead of 200
        Healthy: 
        Unhealthy: it answered 500 instead of 200
        Healthy: 
        nothing
        ");
    }
}
