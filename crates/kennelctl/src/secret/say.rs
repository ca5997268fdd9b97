//! What `kennelctl secret` says. Never a value.

use std::collections::BTreeSet;
use std::path::Path;

use kennel_core::{BadSecret, DeploymentState, ProjectName, SecretName, SecretScope};
use kennel_store::Deployment;

pub(crate) fn needs_root(path: &Path) -> String {
    format!("{} may not be opened; run this with sudo", path.display())
}

pub(crate) fn typed(name: &SecretName) -> String {
    format!(
        "a terminal would show what is typed; pipe the value in, as in `systemd-ask-password \
         '{name}:' | kennelctl secret set ...`"
    )
}

pub(crate) fn bad_value(name: &SecretName, why: BadSecret) -> String {
    format!("what came on standard input cannot be {name}: {why}; nothing was changed")
}

pub(super) fn set(
    name: &SecretName,
    project: &ProjectName,
    scope: SecretScope,
    replaced: Option<&str>,
) -> String {
    match replaced {
        Some(then) => {
            format!("{name} of {project} is set for {scope}, in place of the one set {then}")
        }
        None => format!("{name} of {project} is set for {scope}; there was none before"),
    }
}

/// What brings the value to those who should have it.
pub(super) fn set_next(name: &SecretName, users: &[&Deployment]) -> String {
    if users.is_empty() {
        return format!(
            "No service gets it yet: one whose kennel.toml has `secrets = [\"{name}\"]` does, from \
             its next deployment on."
        );
    }
    let commands: BTreeSet<_> = users.iter().map(|it| next(it)).collect();
    let users: Vec<_> = users.iter().map(|it| it.key.to_string()).collect();
    let commands: Vec<_> = commands.into_iter().collect();
    format!("To hand it to {} now:\n  {}", users.join(", "), commands.join("\n  "))
}

/// What failed kept nothing that could be deployed again.
fn next(deployment: &Deployment) -> String {
    let place = format!("{}/{}", deployment.key.project, deployment.key.git_ref.short());
    match deployment.state {
        DeploymentState::Failed => format!("kennelctl redeploy {place} --rebuild"),
        DeploymentState::Pending
        | DeploymentState::Starting
        | DeploymentState::Active
        | DeploymentState::Draining
        | DeploymentState::Retired
        | DeploymentState::Superseded
        | DeploymentState::Unchanged
        | DeploymentState::Cancelled
        | DeploymentState::TearingDown
        | DeploymentState::TornDown => format!("kennelctl redeploy {place}"),
    }
}

pub(super) fn none(project: &ProjectName) -> String {
    format!("{project} has no secrets; `kennelctl secret set {project} NAME` sets one.")
}

pub(super) fn removed(name: &SecretName, project: &ProjectName, scope: SecretScope) -> String {
    format!("{name} of {project} is removed for {scope}")
}

pub(super) fn still_named(name: &SecretName, users: &[String]) -> String {
    let (verb, they) = if users.len() == 1 { ("names", "it") } else { ("name", "they") };
    format!(
        "kennelctl: {} still {verb} {name} in kennel.toml: {they} cannot be deployed again until it \
         is set, or no longer named",
        users.join(", ")
    )
}

pub(super) fn no_secret(
    name: &SecretName,
    project: &ProjectName,
    scope: SecretScope,
    elsewhere: &[SecretScope],
) -> String {
    let there = match elsewhere {
        [] => format!("see `kennelctl secret list {project}`"),
        scopes => {
            let flags: Vec<_> = scopes
                .iter()
                .map(|scope| match scope {
                    SecretScope::Both => "without --production and --preview",
                    SecretScope::Production => "with --production",
                    SecretScope::Preview => "with --preview",
                })
                .collect();
            format!("it is there {}", flags.join(" and "))
        }
    };
    format!("{project} has no secret {name} for {scope}; {there}")
}
