//! Every sentence of kennel-sweep.

use kennel_core::{GitRef, ProjectName};

use crate::retention::Forgotten;

pub(crate) fn expired(project: &ProjectName, git_ref: &GitRef) -> String {
    format!("{project}/{} has expired", git_ref.short())
}

pub(crate) fn forgotten(rows: &Forgotten) -> String {
    let Forgotten { deliveries, builds, deployments } = rows;
    format!("forgot {deliveries} deliveries, {builds} builds and {deployments} deployments")
}

pub(crate) fn router_silent(why: &str) -> String {
    format!(
        "the router does not say what was used, and nothing expires until it does: {why}; see \
         `systemctl status kennel-router`"
    )
}

pub(crate) fn unusable_project(why: &str) -> String {
    format!("branches of a project whose file cannot be used do not expire: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let project = "shop".parse().unwrap();
        let all = [
            expired(&project, &"refs/heads/feature/x".parse().unwrap()),
            expired(&project, &"refs/pull/5/head".parse().unwrap()),
            forgotten(&Forgotten { deliveries: 20, builds: 3, deployments: 5 }),
            router_silent("it did not answer in time"),
            unusable_project("shop.toml:3: unknown key `brnches`; did you mean `branches`?"),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        shop/feature/x has expired
        shop/pr-5 has expired
        forgot 20 deliveries, 3 builds and 5 deployments
        the router does not say what was used, and nothing expires until it does: it did not answer in time; see `systemctl status kennel-router`
        branches of a project whose file cannot be used do not expire: shop.toml:3: unknown key `brnches`; did you mean `branches`?
        ");
    }
}
