//! Pull requests: each forge's words for their life, strangers, and branches that pose as one.

use kennel_tests::{
    Asked, Event, Forge, HeadRepository, Kennel, LIMIT, Project, PullRequest, PullRequestAction,
    Result, Rows, anyhow, builds_of, ensure, expect_gone,
};

pub(crate) fn live_on_forgejo(kennel: &Kennel) -> Result<()> {
    live(kennel, Forge::Forgejo)
}

pub(crate) fn live_on_gitea(kennel: &Kennel) -> Result<()> {
    live(kennel, Forge::Gitea)
}

pub(crate) fn live_on_github(kennel: &Kennel) -> Result<()> {
    live(kennel, Forge::Github)
}

/// Opened, updated, closed, opened again, merged.
fn live(kennel: &Kennel, forge: Forge) -> Result<()> {
    let project = kennel.project_on(forge, &format!("pulls-{}", forge.name()), "")?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    let (api, web) = (project.address("api", "pr-7"), project.address("web", "pr-7"));

    // The branch itself is not pushed to Kennel: what serves is the pull request's.
    let first = project.commit("greet", &sources("greet-1"), "greet")?;
    let mut pull = of(7, "greet", &first.after);
    project.pull_request(&pull, PullRequestAction::Opened)?;
    kennel.expect_page(&api, "/version", "greet-1", LIMIT)?;
    kennel.expect_page(&web, "/", "greet-1", LIMIT)?;
    let env: serde_json::Value = serde_json::from_slice(&kennel.get(&api, "/env")?.body)?;
    ensure!(env.get("KENNEL_COMMIT").is_some_and(|sha| *sha == first.after), "its env is {env}");

    pull.head = project.commit("greet", &sources("greet-2"), "greet louder")?.after;
    project.pull_request(&pull, PullRequestAction::Updated)?;
    kennel.expect_page(&api, "/version", "greet-2", LIMIT)?;
    kennel.expect_page(&web, "/", "greet-2", LIMIT)?;

    project.pull_request(&pull, PullRequestAction::Closed { merged: false })?;
    expect_closed(kennel, &project, &[&api, &web])?;

    project.pull_request(&pull, PullRequestAction::Reopened)?;
    kennel.expect_page(&api, "/version", "greet-2", LIMIT)?;
    kennel.expect_page(&web, "/", "greet-2", LIMIT)?;

    project.pull_request(&pull, PullRequestAction::Closed { merged: true })?;
    expect_closed(kennel, &project, &[&api, &web])?;
    let builds = builds_of(kennel, &project, "refs/pull/7/head")?;
    ensure!(builds.len() == 3, "opened, updated and reopened are {} builds", builds.len());
    Ok(())
}

fn expect_closed(kennel: &Kennel, project: &Project, hosts: &[&str]) -> Result<()> {
    let rows = expect_gone(kennel, project, "refs/pull/7/head")?;
    let ends = rows.of(project.name()).filter(|it| it.state == "torn_down").count();
    ensure!(ends >= 2, "only {ends} deployments were torn down");
    for host in hosts {
        let status = kennel.get(host, "/")?.status;
        ensure!(status == 404, "{host} still answers {status}");
    }
    Ok(())
}

/// A stranger's pull request, from a branch called `main`: not built, and `main` is not touched.
pub(crate) fn of_strangers_are_ignored(kennel: &Kennel) -> Result<()> {
    for forge in [Forge::Forgejo, Forge::Gitea, Forge::Github] {
        let name = format!("strangers-{}", forge.name());
        let project = kennel.project_on(forge, &name, "")?;
        let web = project.address("web", "main");
        let own = project.push("main", &kennel.sources().site("web", "our page"), "ours")?;
        kennel.expect_page(&web, "/", "our page", LIMIT)?;

        let theirs = kennel.sources().site("web", "their page");
        let head = project.commit("elsewhere", &theirs, "theirs")?.after;
        let mut pull =
            PullRequest { head_repository: HeadRepository::Fork, ..of(5, "main", &head) };
        for action in [PullRequestAction::Opened, PullRequestAction::Updated] {
            project.pull_request(&pull, action)?;
            let outcome = last_outcome(kennel, &project)?;
            let reason = format!(
                "ignored: the pull request comes from mallory/{name}; only pull requests from \
                 branches of the repository itself are built"
            );
            ensure!(outcome == reason, "the outcome is {outcome:?}");
        }
        // The fork may be gone by then.
        pull.head_repository = HeadRepository::Gone;
        project.pull_request(&pull, PullRequestAction::Closed { merged: false })?;
        let outcome = last_outcome(kennel, &project)?;
        let reason = "the pull request was closed: 0 deployments to tear down, 0 builds to end";
        ensure!(outcome == reason, "the outcome is {outcome:?}");

        let builds = kennel.ctl(&["builds", "--project", project.name()])?;
        ensure!(
            builds.as_array().is_some_and(|builds| builds.len() == 1),
            "a stranger's commit was built: {builds}"
        );
        let rows = kennel_tests::expect_no_leftovers(kennel, project.name())?;
        let serving: Vec<_> = rows.of(project.name()).collect();
        ensure!(
            matches!(serving[..], [it] if it.state == "active" && it.commit == own.after),
            "main is {serving:?}"
        );
        kennel.expect_page(&web, "/", "our page", LIMIT)?;
    }
    Ok(())
}

/// The branch `pr-5` and pull request 5 are two things.
pub(crate) fn and_branches_of_their_names_never_meet(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("prnames")?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    project.push("pr-5", &sources("the branch"), "a branch")?;
    let head = project.commit("other", &sources("the pull request"), "a request")?.after;
    let pull = of(5, "other", &head);
    project.pull_request(&pull, PullRequestAction::Opened)?;

    // The pull request has the plain name, also when the branch came first.
    let api_of_pull = project.address("api", "pr-5");
    kennel.expect_page(&api_of_pull, "/version", "the pull request", LIMIT)?;
    kennel.expect_page(&project.address("web", "pr-5"), "/", "the pull request", LIMIT)?;
    let branch = kennel.wait_for("deployments of the branch", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let of_branch: Vec<_> = rows
            .of("prnames")
            .filter(|it| it.git_ref == "refs/heads/pr-5" && it.state == "active")
            .cloned()
            .collect();
        Ok((of_branch.len() == 2).then_some(of_branch))
    })?;
    for it in &branch {
        ensure!(it.slug.starts_with("pr-5-"), "the branch's slug is {}", it.slug);
        let (host, path) = (project.address(&it.service, &it.slug), api_or_site(&it.service));
        kennel.expect_page(&host, path, "the branch", LIMIT)?;
    }

    project.pull_request(&pull, PullRequestAction::Closed { merged: true })?;
    expect_gone(kennel, &project, "refs/pull/5/head")?;
    for it in &branch {
        let (host, path) = (project.address(&it.service, &it.slug), api_or_site(&it.service));
        let answer = kennel.get(&host, path)?;
        ensure!(answer.text().contains("the branch"), "closing it took the branch: {answer:?}");
    }
    ensure!(kennel.get(&api_of_pull, "/version")?.status == 404, "pull request 5 still answers");
    project.delete_branch("pr-5")?;
    expect_gone(kennel, &project, "refs/heads/pr-5")?;
    kennel_tests::expect_nothing_left(kennel, "prnames")?;
    Ok(())
}

fn api_or_site(service: &str) -> &'static str {
    if service == "api" { "/version" } else { "/" }
}

fn of(number: u64, branch: &str, head: &str) -> PullRequest {
    PullRequest {
        number,
        head_branch: branch.to_owned(),
        head: head.to_owned(),
        head_repository: HeadRepository::Same,
        base_branch: "main".to_owned(),
    }
}

/// What the dispatcher wrote beside the newest inbox row of the project.
fn last_outcome(kennel: &Kennel, project: &Project) -> Result<String> {
    kennel.wait_for("outcome of the newest row", LIMIT, || {
        let asked = Asked::about(kennel, project.name())?;
        let last = asked.last().ok_or_else(|| anyhow!("the inbox has nothing of it"))?;
        Ok(last.outcome.clone())
    })
}

/// A test button that is pressed on GitHub changes nothing.
pub(crate) fn pings_are_answered(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Github, "pinged", "")?;
    project.tell(&Event::Ping)?;
    let asked = Asked::about(kennel, "pinged")?;
    ensure!(asked.is_empty(), "a ping became {asked:?}");
    Ok(())
}
