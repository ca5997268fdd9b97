//! Every sentence that the dispatcher writes beside a row, in one place.

use kennel_core::{Branch, BuildId, BuildState, DeploymentId, OutputKey, ProjectName, ServiceName};
use kennel_store::Build;

pub(crate) fn queued(id: BuildId) -> String {
    format!("build {id}")
}

pub(crate) fn already_building(id: BuildId) -> String {
    format!("ignored: build {id} is at this commit already")
}

pub(crate) fn no_project(error: &str) -> String {
    format!("ignored: {error}")
}

pub(crate) fn waits_for_repair(project: &ProjectName, error: &str) -> String {
    format!("pushes of {project} wait until its file is repaired: {error}")
}

pub(crate) fn branch_not_deployed(project: &ProjectName, branch: &Branch) -> String {
    format!("ignored: `branches` in {project}.toml does not match {branch}")
}

pub(crate) fn pull_requests_off(project: &ProjectName) -> String {
    format!("ignored: `pull_requests` in {project}.toml is \"none\"")
}

pub(crate) fn awaits_approval(id: BuildId, place: &str) -> String {
    format!("build {id} waits for approval: look at the commit, then `kennelctl approve {place}`")
}

pub(crate) fn approved(id: BuildId, build: Option<&Build>) -> String {
    let Some(build) = build else { return format!("there is no build {id}") };
    match (&build.approved_by, build.state.is_final()) {
        (Some(by), false) => format!("build {id} is approved by {by}"),
        (_, true) => format!("build {id} is {} already", build.state),
        (None, false) => format!("build {id} needs no approval"),
    }
}

pub(crate) fn torn_down(deployments: usize, builds: usize, why: &str) -> String {
    format!("{why}: {deployments} deployments to tear down, {builds} builds to end")
}

pub(crate) const BRANCH_GONE: &str = "the branch was deleted";
pub(crate) const PULL_REQUEST_CLOSED: &str = "the pull request was closed";
pub(crate) const NO_LONGER_WANTED: &str = "kennel.toml no longer has it";
pub(crate) const CANCELLED_AFTER_BUILD: &str = "its build was cancelled when it had just ended";
pub(crate) const DONE: &str = "done";
pub(crate) const LOST_TWICE: &str = "its unit vanished twice";

pub(crate) fn asked_by(what: &str, by: Option<&str>) -> String {
    match by {
        Some(by) => format!("{what} by {by}"),
        None => what.to_owned(),
    }
}

pub(crate) fn cancelled(
    id: BuildId,
    state: Option<BuildState>,
    deployments: &[DeploymentId],
) -> String {
    match state {
        Some(_) if !deployments.is_empty() => {
            format!("{} of build {id}: cancelled", listed(deployments))
        }
        None => format!("there is no build {id}"),
        Some(BuildState::Cancelled) => format!("build {id} is cancelled"),
        Some(BuildState::Building) => format!("build {id} is being cancelled"),
        Some(state) => format!("build {id} is {state} already"),
    }
}

pub(crate) fn redeployed(made: &[DeploymentId], by: Option<&str>) -> String {
    format!("{}: {}", asked_by("redeployed", by), listed(made))
}

fn listed(deployments: &[DeploymentId]) -> String {
    let ids: Vec<_> = deployments.iter().map(ToString::to_string).collect();
    let what = if deployments.len() == 1 { "deployment" } else { "deployments" };
    format!("{what} {}", ids.join(", "))
}

pub(crate) fn never_built(place: &str) -> String {
    format!("nothing was ever built of {place}; push to it")
}

pub(crate) fn never_succeeded(place: &str) -> String {
    format!(
        "no build of {place} has succeeded yet; when the cause has gone, use `kennelctl redeploy \
         {place} --rebuild`"
    )
}

pub(crate) fn deploys_anyway(id: BuildId, state: BuildState) -> String {
    format!(
        "build {id} is {state} and is deployed when it is done; see `kennelctl build {id} --follow`"
    )
}

pub(crate) fn under_way(id: DeploymentId) -> String {
    format!("deployment {id} is under way already; see `kennelctl status`")
}

pub(crate) fn ended(place: &str, why: &str) -> String {
    format!("{place} has ended: {why}; the next push deploys it anew")
}

pub(crate) fn not_kept(key: &OutputKey, build: BuildId, place: &str) -> String {
    format!(
        "what build {build} built of {key} is not kept in the Nix store; use `kennelctl redeploy \
         {place} --rebuild`"
    )
}

pub(crate) fn nothing_built(place: &str, service: Option<&ServiceName>) -> String {
    match service {
        Some(service) => {
            format!("the newest commit of {place} that was built has no service or site {service}")
        }
        None => format!("nothing of {place} is deployed; push to it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let id = BuildId::from_row(7);
        let project = "site".parse().unwrap();
        let key = OutputKey {
            project: "site".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            service: "api".parse().unwrap(),
        };
        let all = [
            queued(id),
            already_building(id),
            no_project("there is no project site"),
            waits_for_repair(
                &project,
                "/etc/kennel/projects.d/site.toml:3: unknown key `brnches`; did you mean `branches`?",
            ),
            branch_not_deployed(&project, &"wip/x".parse().unwrap()),
            pull_requests_off(&project),
            awaits_approval(id, "site/pr-5"),
            approved(id, None),
            torn_down(2, 1, BRANCH_GONE),
            asked_by("torn down", Some("ada")),
            asked_by("torn down", None),
            cancelled(id, None, &[]),
            cancelled(id, Some(BuildState::Cancelled), &[]),
            cancelled(id, Some(BuildState::Building), &[]),
            cancelled(id, Some(BuildState::Partial), &[]),
            cancelled(id, Some(BuildState::Succeeded), &[DeploymentId::from_row(12)]),
            redeployed(&[DeploymentId::from_row(12)], Some("ada")),
            redeployed(&[DeploymentId::from_row(12), DeploymentId::from_row(13)], None),
            never_built("site/main"),
            never_succeeded("site/main"),
            deploys_anyway(id, BuildState::Queued),
            under_way(DeploymentId::from_row(12)),
            ended("site/main", BRANCH_GONE),
            not_kept(&key, id, "site/main"),
            nothing_built("site/main", Some(&key.service)),
            nothing_built("site/main", None),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
