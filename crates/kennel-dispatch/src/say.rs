//! Every sentence that the dispatcher writes beside a row, in one place.

use kennel_core::config::Period;
use kennel_core::{
    Branch, BuildId, BuildState, DeploymentId, DeploymentState, OutputKey, ProjectName, ServiceName,
};
use kennel_store::{Build, Life, Pin};

use crate::rollback::NoWayBack;

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

pub(crate) fn waits_for_room(why: &str) -> String {
    format!("waits until there is room: {why}")
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

pub(crate) fn used_since() -> String {
    "ignored: it does not expire yet".to_owned()
}

pub(crate) fn expired(length: Period) -> String {
    format!("it expired: nobody pushed to it or visited it for {length}")
}

pub(crate) fn expired_fork(length: Period) -> String {
    format!("it expired: what comes from a fork stays for {length} after a push")
}

pub(crate) fn extended(place: &str, by: Period, who: Option<&str>) -> String {
    match who {
        Some(who) => format!("{who} keeps {place} {by} longer"),
        None => format!("{place} is kept {by} longer"),
    }
}

pub(crate) fn does_not_expire(place: &str, life: &Life) -> String {
    if life.is_pinned {
        format!("{place} is pinned, and does not expire until `kennelctl unpin`")
    } else if life.is_building {
        format!(
            "{place} is being built, and its time begins anew with that; see `kennelctl status`"
        )
    } else {
        format!("{place} never expires; see `expire_after` in kennel-config(5)")
    }
}

pub(crate) fn not_deployed(place: &str) -> String {
    format!("nothing of {place} is deployed; push to it")
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

pub(crate) fn rolled_back(id: DeploymentId, to: DeploymentId, by: Option<&str>) -> String {
    format!("{}: deployment {id}", asked_by(&format!("back to deployment {to}"), by))
}

pub(crate) fn not_rolled_back(key: &OutputKey, why: NoWayBack, kept: &[DeploymentId]) -> String {
    let why = match why {
        NoWayBack::Unknown(id) => format!("{key} never had a deployment {id}"),
        NoWayBack::Serves(id) => format!("deployment {id} of {key} serves already"),
        NoWayBack::NotKept(id, state) => {
            format!("deployment {id} of {key} is {}, and not kept", shown(state))
        }
        NoWayBack::NotInStore(id) => {
            format!("what deployment {id} of {key} served is not in the Nix store any more")
        }
        NoWayBack::NothingEarlier => {
            format!("nothing is kept of {key} from before what serves now")
        }
    };
    if kept.is_empty() {
        return format!("{why}; there is nothing to go back to");
    }
    let ids: Vec<_> = kept.iter().map(ToString::to_string).collect();
    format!("{why}; `--to` may name {}: see `kennelctl history {key}`", ids.join(", "))
}

fn shown(state: DeploymentState) -> String {
    state.as_str().replace('_', " ")
}

pub(crate) fn nothing_to_pin(place: &str) -> String {
    format!("nothing of {place} is deployed that could be pinned; see `kennelctl status`")
}

pub(crate) fn pinned(place: &str, by: Option<&str>, is_new: bool) -> String {
    if is_new {
        asked_by(&format!("{place} is pinned"), by)
    } else {
        format!("{place} is pinned already")
    }
}

pub(crate) fn unpinned(place: &str, was_pinned: bool, freed: &[DeploymentId]) -> String {
    match (was_pinned, freed) {
        (false, _) => format!("{place} is not pinned"),
        (true, []) => format!("{place} is not pinned any more"),
        (true, freed) => format!("{place} is not pinned any more: {} may start", listed(freed)),
    }
}

pub(crate) fn pinned_as_branch(place: &str, branch: &str) -> String {
    format!("{place} is pinned with its whole branch; use `kennelctl unpin {branch}`")
}

pub(crate) fn nothing_to_maintain(place: &str) -> String {
    format!("nothing of {place} is deployed; see `kennelctl status`")
}

pub(crate) fn under_maintenance(place: &str, by: Option<&str>, is_new: bool) -> String {
    if is_new {
        asked_by(&format!("{place} is under maintenance"), by)
    } else {
        format!("{place} is still under maintenance; its visitors are told this from now on")
    }
}

pub(crate) fn maintenance_ended(place: &str, was_under: bool) -> String {
    if was_under {
        format!("{place} is open again")
    } else {
        format!("{place} is not under maintenance")
    }
}

pub(crate) fn maintained_with(place: &str, larger: &str) -> String {
    format!("{place} is under maintenance with {larger}; use `kennelctl maintenance off {larger}`")
}

pub(crate) fn held(pin: &Pin) -> String {
    let place = pin.scope.to_string();
    format!(
        "held: {}; `kennelctl unpin {place}` deploys it",
        pinned(&place, pin.by.as_deref(), true)
    )
}

pub(crate) fn is_pinned(pin: &Pin) -> String {
    let place = pin.scope.to_string();
    let pinned = pinned(&place, pin.by.as_deref(), true);
    format!("{pinned}; use `kennelctl unpin {place}` before it is deployed again")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sentences() {
        let id = BuildId::from_row(7);
        let project: ProjectName = "site".parse().unwrap();
        let key = OutputKey {
            project: "site".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            service: "api".parse().unwrap(),
        };
        let no = |why, kept: &[DeploymentId]| not_rolled_back(&key, why, kept);
        let pin = Pin {
            scope: kennel_store::Scope {
                project: "site".parse().unwrap(),
                git_ref: "refs/heads/main".parse().unwrap(),
                service: Some("api".parse().unwrap()),
            },
            by: Some("ada".to_owned()),
            at: kennel_core::Timestamp::from_millis(1),
        };
        let life = Life {
            project: project.clone(),
            git_ref: "refs/heads/main".parse().unwrap(),
            fork: false,
            pushed_at: kennel_core::Timestamp::from_millis(0),
            used_at: None,
            kept_until: None,
            kept_by: None,
            is_pinned: false,
            is_building: false,
        };
        let all = [
            queued(id),
            already_building(id),
            no_project("there is no project site"),
            waits_for_room("only 300 MiB are free in /nix/store, and a build needs 1024 MiB"),
            waits_for_repair(
                &project,
                "/etc/kennel/projects.d/site.toml:3: unknown key `brnches`; did you mean `branches`?",
            ),
            branch_not_deployed(&project, &"wip/x".parse().unwrap()),
            pull_requests_off(&project),
            awaits_approval(id, "site/pr-5"),
            approved(id, None),
            torn_down(2, 1, BRANCH_GONE),
            torn_down(2, 0, &expired(Period(Duration::from_secs(7 * 24 * 3600)))),
            torn_down(2, 0, &expired_fork(Period(Duration::from_secs(24 * 3600)))),
            used_since(),
            extended("site/x", Period(Duration::from_secs(3600)), Some("ada")),
            extended("site/x", Period(Duration::from_secs(3600)), None),
            does_not_expire("site/main", &life),
            does_not_expire("site/x", &Life { is_pinned: true, ..life.clone() }),
            does_not_expire("site/x", &Life { is_building: true, ..life.clone() }),
            not_deployed("site/x"),
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
            rolled_back(DeploymentId::from_row(12), DeploymentId::from_row(9), Some("ada")),
            no(NoWayBack::Unknown(DeploymentId::from_row(9)), &[]),
            no(NoWayBack::Serves(DeploymentId::from_row(9)), &[]),
            no(
                NoWayBack::NotKept(DeploymentId::from_row(9), DeploymentState::TornDown),
                &[DeploymentId::from_row(11), DeploymentId::from_row(10)],
            ),
            no(NoWayBack::NotInStore(DeploymentId::from_row(9)), &[]),
            no(NoWayBack::NothingEarlier, &[]),
            nothing_to_pin("site/main"),
            pinned("site/main", Some("ada"), true),
            pinned("site/main", None, false),
            unpinned("site/main", false, &[]),
            unpinned("site/main", true, &[]),
            unpinned("site/main", true, &[DeploymentId::from_row(12)]),
            pinned_as_branch("site/main/api", "site/main"),
            nothing_to_maintain("site/main"),
            under_maintenance("site/main", Some("ada"), true),
            under_maintenance("site/main", Some("ada"), false),
            maintenance_ended("site/main", true),
            maintenance_ended("site/main", false),
            maintained_with("site/main/api", "site"),
            held(&pin),
            is_pinned(&pin),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
