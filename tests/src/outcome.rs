//! What became of a pushed commit, seen from outside.

use serde_json::Value;

use crate::{Context, Deployment, Kennel, LIMIT, Project, Result, Rows, anyhow, ensure};

/// Waits for the deployment of a service or site at a commit to be in a state, such as `active`.
///
/// # Errors
/// When it ends in another one, or is not there after three minutes.
pub fn expect_deployment(
    kennel: &Kennel,
    project: &Project,
    service: &str,
    commit: &str,
    state: &str,
) -> Result<Deployment> {
    let what = format!("{state} deployment of {service} of {} at {commit}", project.name());
    let found = kennel.wait_for(&what, LIMIT, || {
        let rows = Rows::read(kennel)?;
        let it = rows.at(project.name(), service, commit).context("no such row")?.clone();
        // A settled one does not come into another state by itself.
        if it.state == state || it.is_settled() { Ok(Some(it)) } else { Err(anyhow!("{it:?}")) }
    })?;
    ensure!(found.state == state, "instead of an {what} there is {found:?}");
    Ok(found)
}

/// A deployment as `kennelctl status --json` shows it.
///
/// # Errors
/// When it does not.
pub fn shown(project: &Project, it: &Deployment) -> Result<Value> {
    let told = project.deployments()?;
    let line = told.iter().find(|line| line.get("id").is_some_and(|id| *id == it.id));
    line.cloned().with_context(|| format!("status does not show {}: {told:?}", it.id))
}

/// Waits for a deployment of a service or site that turned out to change nothing. What serves has
/// its commit from then on.
///
/// # Errors
/// When there is none after three minutes.
pub fn expect_no_change(kennel: &Kennel, project: &Project, service: &str) -> Result<()> {
    kennel.wait_for("deployment that changes nothing", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let mut all = rows.of(project.name()).filter(|it| it.service == service);
        Ok(all.any(|it| it.state == "unchanged").then_some(()))
    })
}

/// Waits for the deployment of a commit to fail, with every one of `words` in its reason, and
/// wants `kennelctl status` to tell the same to people and to programs.
///
/// # Errors
/// When it does not fail, or not for that reason.
pub fn expect_failure(
    kennel: &Kennel,
    project: &Project,
    service: &str,
    commit: &str,
    words: &[&str],
) -> Result<Deployment> {
    let failed = expect_deployment(kennel, project, service, commit, "failed")?;
    let reason = failed.reason.as_deref().context("it failed without a reason")?;
    for word in words {
        ensure!(reason.contains(word), "the reason does not say {word:?}: {reason}");
    }
    let line = shown(project, &failed)?;
    let told = |key: &str| line.get(key).and_then(|value| value.as_str());
    ensure!(told("state") == Some("failed") && told("reason") == Some(reason), "{line}");
    let text = kennel.host().run(&["kennelctl", "status", project.name()])?;
    let start: String = reason.lines().next().unwrap_or_default().chars().take(60).collect();
    ensure!(text.contains("FAILED") && text.contains(&start), "status does not say why:\n{text}");
    Ok(failed)
}
