//! Every sentence that the dispatcher writes beside a row, in one place.

use kennel_core::{Branch, BuildId, BuildState, ProjectName};

pub(crate) fn queued(id: BuildId) -> String {
    format!("build {id}")
}

pub(crate) fn already_building(id: BuildId) -> String {
    format!("ignored: build {id} is at this commit already")
}

pub(crate) fn no_project(error: &str) -> String {
    format!("ignored: {error}")
}

pub(crate) fn branch_not_deployed(project: &ProjectName, branch: &Branch) -> String {
    format!("ignored: `branches` in {project}.toml does not match {branch}")
}

pub(crate) fn pull_requests_off(project: &ProjectName) -> String {
    format!("ignored: `pull_requests` in {project}.toml is \"none\"")
}

pub(crate) fn foreign_head(head: Option<&str>) -> String {
    match head {
        Some(head) => format!(
            "ignored: the pull request comes from {head}; only pull requests from branches of the \
             repository itself are built"
        ),
        None => "ignored: the repository that the pull request comes from is gone".to_owned(),
    }
}

pub(crate) fn torn_down(deployments: usize, builds: usize, why: &str) -> String {
    format!("{why}: {deployments} deployments to tear down, {builds} builds to end")
}

pub(crate) const BRANCH_GONE: &str = "the branch was deleted";
pub(crate) const PULL_REQUEST_CLOSED: &str = "the pull request was closed";
pub(crate) const NO_LONGER_WANTED: &str = "kennel.toml no longer has it";
pub(crate) const CANCELLED_AFTER_BUILD: &str = "its build was cancelled when it had just ended";
pub(crate) const LOST_TWICE: &str = "its unit vanished twice";

pub(crate) fn asked_by(what: &str, by: Option<&str>) -> String {
    match by {
        Some(by) => format!("{what} by {by}"),
        None => what.to_owned(),
    }
}

pub(crate) fn cancelled(id: BuildId, state: Option<BuildState>) -> String {
    match state {
        None => format!("there is no build {id}"),
        Some(BuildState::Cancelled) => format!("build {id} is cancelled"),
        Some(BuildState::Building) => format!("build {id} is being cancelled"),
        Some(state) => format!("build {id} is {state} already"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let id = BuildId::from_row(7);
        let project = "site".parse().unwrap();
        let all = [
            queued(id),
            already_building(id),
            no_project("there is no project site"),
            branch_not_deployed(&project, &"wip/x".parse().unwrap()),
            pull_requests_off(&project),
            foreign_head(Some("eve/site")),
            foreign_head(None),
            torn_down(2, 1, BRANCH_GONE),
            asked_by("torn down", Some("ada")),
            asked_by("torn down", None),
            cancelled(id, None),
            cancelled(id, Some(BuildState::Cancelled)),
            cancelled(id, Some(BuildState::Building)),
            cancelled(id, Some(BuildState::Partial)),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
