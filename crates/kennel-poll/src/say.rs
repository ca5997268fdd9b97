//! Every sentence of kennel-poll.

use kennel_core::config::ProjectConfig;
use kennel_core::{Event, ProjectName};

pub(crate) fn found(project: &ProjectName, event: &Event) -> String {
    match event {
        Event::Push { branch, sha } => {
            format!("{project}: nobody told that {branch} is at {}", sha.short())
        }
        Event::BranchDeleted { branch } => format!("{project}: nobody told that {branch} is gone"),
        Event::PullRequest { .. }
        | Event::PullRequestClosed { .. }
        | Event::Cancel { .. }
        | Event::TearDown { .. }
        | Event::Redeploy { .. }
        | Event::Rebuild { .. }
        | Event::RollBack { .. }
        | Event::Pin { .. }
        | Event::Unpin { .. }
        | Event::MaintenanceOn { .. }
        | Event::MaintenanceOff { .. }
        | Event::Extend { .. }
        | Event::Expired { .. }
        | Event::Approve { .. }
        | Event::SecretSet { .. }
        | Event::SecretRemoved { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. } => format!("{project}: nobody told of {}", event.kind()),
    }
}

pub(crate) fn trouble(project: &ProjectName, trouble: &str) -> String {
    format!("{project}: {trouble}; no branch is taken for deleted, and it is asked again")
}

pub(crate) fn recovered(project: &ProjectName) -> String {
    format!("{project}: nothing is wrong with its forge any more")
}

pub(crate) fn no_default_branch(project: &ProjectConfig) -> String {
    format!(
        "{} has no branch {}; if it has another default branch, name it as default_branch in {}.toml",
        project.repo_url, project.default_branch, project.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let site: ProjectName = "site".parse().unwrap();
        let text = "repo_url = \"https://git.example.com/team/site.git\"\n";
        let project = ProjectConfig::parse(site.clone(), text, "site.toml").unwrap();
        let branch = "feature/x".parse().unwrap();
        let push = Event::Push { branch, sha: "a".repeat(40).parse().unwrap() };
        let all = [
            found(&site, &push),
            found(&site, &Event::BranchDeleted { branch: "feature/x".parse().unwrap() }),
            trouble(&site, "https://git.example.com/team/site.git cannot be reached: it is asleep"),
            trouble(&site, &no_default_branch(&project)),
            recovered(&site),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
