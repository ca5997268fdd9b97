//! Whether what serves is well, as `kennelctl status` sees it.

use std::sync::Arc;

use kennel_core::DeploymentState;

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;
use crate::status::health::{Health, Healths};

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let Ok(rows) = &facts.rows else { return vec![say::health_without_rows()] };
    let serving = rows.deployments.iter().filter(|it| it.state == DeploymentState::Active);
    let serving: Vec<_> = serving.cloned().collect();
    let healths = Healths::ask(&facts.host.layout, &serving, true).await;
    let unwell = serving.iter().filter_map(|deployment| {
        let verdict = healths.of(deployment.id)?;
        match verdict.health {
            Health::Healthy | Health::Starting | Health::Asleep | Health::Unknown => None,
            Health::Unhealthy | Health::Down => Some(say::unwell(
                &deployment.key.to_string(),
                verdict.detail.as_deref().unwrap_or_default(),
                deployment.settings.kind(),
            )),
        }
    });
    or_ok(unwell.collect(), || say::all_well(serving.len()))
}
