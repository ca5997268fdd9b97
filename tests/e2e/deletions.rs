//! Deleted branches: gone, whatever was being done with them, and never back by themselves.

use kennel_tests::{
    Asked, Forge, Kennel, LIMIT, Project, Result, Rows, builders, builds_of, ensure, expect_gone,
    expect_nothing_left, that_waits,
};

const BRANCH: &str = "feature/login";
const REF: &str = "refs/heads/feature/login";

pub(crate) fn as_forgejo_says_it(kennel: &Kennel) -> Result<()> {
    at_rest(kennel, Forge::Forgejo, 1)
}

pub(crate) fn as_gitea_says_it(kennel: &Kennel) -> Result<()> {
    at_rest(kennel, Forge::Gitea, 1)
}

/// A push and a `delete`, of which the second finds nothing left to do.
pub(crate) fn as_github_says_it(kennel: &Kennel) -> Result<()> {
    at_rest(kennel, Forge::Github, 2)
}

/// While it serves; then the branch is made again, and serves again.
fn at_rest(kennel: &Kennel, forge: Forge, told: usize) -> Result<()> {
    let project = kennel.project_on(forge, &format!("deleted-{}", forge.name()), "")?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    project.push(BRANCH, &sources("login-1"), "log in")?;
    let hosts = expect_served(kennel, &project, "login-1")?;

    project.delete_branch(BRANCH)?;
    expect_gone(kennel, &project, REF)?;
    let nothing = expect_nothing_left(kennel, project.name())?;
    ensure!(nothing.of(project.name()).count() == 2, "not two rows are left");
    for host in &hosts {
        ensure!(kennel.get(host, "/")?.status == 404, "{host} still answers");
    }
    let outcomes = outcomes_of_deletions(kennel, &project)?;
    ensure!(outcomes.len() <= told && !outcomes.is_empty(), "it was told as {outcomes:?}");
    let first = "the branch was deleted: 2 deployments to tear down, 0 builds to end";
    ensure!(outcomes.first().is_some_and(|it| it == first), "the first did {outcomes:?}");

    // The very same commit counts as well.
    project.push(BRANCH, &sources("login-1"), "log in")?;
    let again = expect_served(kennel, &project, "login-1")?;
    ensure!(again == hosts, "it came back as {again:?}, not {hosts:?}");
    project.delete_branch(BRANCH)?;
    expect_gone(kennel, &project, REF)?;
    expect_nothing_left(kennel, project.name())?;
    Ok(())
}

/// While the builder runs: it ends, and no build comes back.
pub(crate) fn while_it_builds(kennel: &Kennel) -> Result<()> {
    let mut ended = Vec::new();
    for (forge, seconds) in
        [(Forge::Forgejo, 31_001), (Forge::Gitea, 31_002), (Forge::Github, 31_003)]
    {
        let project = kennel.project_on(forge, &format!("midbuild-{}", forge.name()), "")?;
        project.push(BRANCH, &that_waits(kennel, seconds), "wait")?;
        kennel.wait_for("builder that waits", LIMIT, || {
            Ok(Some(builders(kennel, seconds)?).filter(|found| !found.is_empty()))
        })?;
        project.delete_branch(BRANCH)?;
        expect_gone(kennel, &project, REF)?;
        let left = builders(kennel, seconds)?;
        ensure!(left.is_empty(), "the builder goes on: {left}");
        ended.push(project);
    }
    // Something else, asked for later, was built and deployed: time enough for one to come back.
    for project in &ended {
        project.push("main", &kennel.sources().site("web", "another branch"), "another")?;
        kennel.expect_page(&project.address("web", "main"), "/", "another branch", LIMIT)?;
        let builds = builds_of(kennel, project, REF)?;
        let [build] = &builds[..] else { kennel_tests::bail!("it was built again: {builds:?}") };
        ensure!(build.get("state").is_some_and(|it| it == "cancelled"), "the build is {build}");
        ensure!(
            build.get("reason").is_some_and(|it| it == "the branch was deleted"),
            "its reason is not the deletion: {build}"
        );
        let rows = Rows::read(kennel)?;
        ensure!(rows.of(project.name()).all(|it| it.git_ref != REF), "it was deployed");
    }
    Ok(())
}

/// While the new version is not healthy yet and the old one serves: both go.
pub(crate) fn while_its_deployment_starts(kennel: &Kennel) -> Result<()> {
    for forge in [Forge::Forgejo, Forge::Gitea, Forge::Github] {
        let name = format!("midstart-{}", forge.name());
        let project = kennel.project_on(forge, &name, "")?;
        let toml = "[services.api]\nhealth_check = \"/health\"\nhealth_check_timeout_secs = 600\n";
        let sources = |conf: &str| kennel.sources().service_with("api", conf).kennel_toml(toml);
        project.push(BRANCH, &sources("version = start-1\n"), "one")?;
        let hosts = expect_served(kennel, &project, "start-1")?;
        let never = sources("version = start-2\nnever_healthy = true\nsay = it starts\n");
        let second = project.push(BRANCH, &never, "two")?;
        let starting = kennel.wait_for("service that is not healthy yet", LIMIT, || {
            let rows = Rows::read(kennel)?;
            let Some(row) = rows.at(&name, "api", &second.after) else { return Ok(None) };
            let unit = row.unit();
            let active = kennel.host().run(&["systemctl", "is-active", &unit])?;
            Ok((row.state == "starting" && active.trim() == "active").then_some(row.id))
        })?;

        project.delete_branch(BRANCH)?;
        expect_gone(kennel, &project, REF)?;
        let rows = expect_nothing_left(kennel, &name)?;
        for it in rows.of(&name) {
            ensure!(it.state == "torn_down", "{it:?}");
        }
        ensure!(rows.of(&name).any(|it| it.id == starting), "the row of {starting} is gone");
        for host in &hosts {
            ensure!(kennel.get(host, "/version")?.status == 404, "{host} still answers");
        }
    }
    Ok(())
}

/// While older versions drain for a long time: all end side by side, with what they shared and
/// with the timers that were to end them.
pub(crate) fn while_older_ones_drain(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("draining")?;
    let toml = "[services.api]\nhealth_check = \"/health\"\ndrain_secs = 900\n";
    let versions = ["drain-1", "drain-2", "drain-3", "drain-4"];
    for version in versions {
        let sources = kennel.sources().service("api", version).kennel_toml(toml);
        project.push(BRANCH, &sources, version)?;
        expect_serving(kennel, &project, version)?;
    }
    // The row follows the page.
    kennel.wait_for("drain of all but the newest", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let draining = rows.of("draining").filter(|it| it.state == "draining").count();
        Ok((draining == versions.len() - 1).then_some(()))
    })?;

    project.delete_branch(BRANCH)?;
    expect_gone(kennel, &project, REF)?;
    let rows = expect_nothing_left(kennel, "draining")?;
    for it in rows.of("draining") {
        ensure!(it.state == "torn_down", "{it:?}");
    }
    Ok(())
}

/// Before the dispatcher has even looked at the push, and again and again.
pub(crate) fn at_once(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("fleeting")?;
    let sources = |text: &str| kennel.sources().site("web", text);
    for round in 1..=5 {
        project.push(BRANCH, &sources(&format!("fleeting {round}")), "come")?;
        project.delete_branch(BRANCH)?;
    }
    expect_gone(kennel, &project, REF)?;
    expect_nothing_left(kennel, "fleeting")?;
    // The last word counts: it stays when it was not deleted again.
    project.push(BRANCH, &sources("here to stay"), "stay")?;
    expect_served(kennel, &project, "here to stay")?;
    Ok(())
}

/// Waits until the branch's service answers with a version.
fn expect_serving(kennel: &Kennel, project: &Project, version: &str) -> Result<()> {
    let slug = kennel.wait_for("slug of the branch", LIMIT, || {
        Ok(Rows::read(kennel)?.of(project.name()).next().map(|it| it.slug.clone()))
    })?;
    kennel.expect_page(&project.address("api", &slug), "/version", version, LIMIT)?;
    Ok(())
}

/// Waits until all of the branch's newest deployments serve `text`; returns their hosts.
fn expect_served(kennel: &Kennel, project: &Project, text: &str) -> Result<Vec<String>> {
    let head = project.head(BRANCH)?;
    project.expect_build(&head, "succeeded", LIMIT)?;
    let mut hosts = kennel.wait_for("deployments that serve", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let newest = |it: &&kennel_tests::Deployment| it.git_ref == REF && it.commit == head;
        let of_branch: Vec<_> = rows.of(project.name()).filter(newest).collect();
        let settled = of_branch.iter().all(|it| it.is_settled());
        let serve = of_branch.into_iter().filter(|it| it.state == "active");
        let hosts: Vec<_> = serve
            .map(|it| {
                let path = if it.is_site() { "/" } else { "/version" };
                (project.address(&it.service, &it.slug), path)
            })
            .collect();
        Ok((settled && !hosts.is_empty()).then_some(hosts))
    })?;
    hosts.sort();
    for (host, path) in &hosts {
        kennel.expect_page(host, path, text, LIMIT)?;
    }
    Ok(hosts.into_iter().map(|(host, _)| host).collect())
}

fn outcomes_of_deletions(kennel: &Kennel, project: &Project) -> Result<Vec<String>> {
    let asked = Asked::about(kennel, project.name())?;
    let deletions = asked.into_iter().filter(|it| it.kind == "branch_deleted");
    Ok(deletions.filter_map(|it| it.outcome).collect())
}
