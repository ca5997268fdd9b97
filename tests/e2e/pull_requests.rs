//! Pull requests: each forge's words for their life, strangers, and branches that pose as one.

use kennel_tests::{
    Asked, Event, Forge, HeadRepository, Kennel, LIMIT, Project, PullRequest, PullRequestAction,
    Result, Rows, anyhow, builds_of, ensure, expect_gone,
};
use serde_json::Value;

use crate::secrets::expect_handed;

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
    let env: Value = serde_json::from_slice(&kennel.get(&api, "/env")?.body)?;
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

/// A stranger's pull request, from a branch called `main`: built when somebody has approved the
/// commit, no other commit along with it, and `main` is not touched.
pub(crate) fn of_strangers_wait(kennel: &Kennel) -> Result<()> {
    for forge in [Forge::Forgejo, Forge::Gitea, Forge::Github] {
        let name = format!("strangers-{}", forge.name());
        let project = kennel.project_on(forge, &name, "")?;
        let [ours, theirs] = ["main", "pr-5"].map(|branch| project.address("web", branch));
        project.push("main", &kennel.sources().site("web", "our page"), "ours")?;
        kennel.expect_page(&ours, "/", "our page", LIMIT)?;

        let site = |text: &str| kennel.sources().site("web", text);
        let first = project.commit("elsewhere", &site("their page"), "theirs")?.after;
        let mut pull =
            PullRequest { head_repository: HeadRepository::Fork, ..of(5, "main", &first) };
        project.pull_request(&pull, PullRequestAction::Opened)?;
        expect_waiting(kennel, &project, &first)?;
        // Sent again, it is the same that waits.
        project.pull_request(&pull, PullRequestAction::Updated)?;
        let outcome = last_outcome(kennel, &project)?;
        ensure!(outcome.contains("at this commit already"), "the outcome is {outcome:?}");
        ensure!(kennel.get(&theirs, "/")?.status == 404, "a stranger's page is served");

        let what = format!("{name}/pr-5");
        kennel.host().run(&["kennelctl", "approve", &what])?;
        kennel.expect_page(&theirs, "/", "their page", LIMIT)?;

        pull.head = project.commit("elsewhere", &site("another page"), "theirs again")?.after;
        project.pull_request(&pull, PullRequestAction::Updated)?;
        expect_waiting(kennel, &project, &pull.head)?;
        let other = kennel.host().try_run(&["kennelctl", "approve", &what, "--commit", &first])?;
        ensure!(other.code == 3, "the commit of before is approved again: {other:?}");
        kennel.expect_page(&theirs, "/", "their page", LIMIT)?;

        // The fork may be gone by then.
        let gone = PullRequest { head_repository: HeadRepository::Gone, ..pull.clone() };
        project.pull_request(&gone, PullRequestAction::Closed { merged: false })?;
        expect_gone(kennel, &project, "refs/pull/5/head")?;
        ensure!(waiting(kennel, &project)?.is_empty(), "something of it waits still");
        let late = kennel.host().try_run(&["kennelctl", "approve", &what])?;
        ensure!(late.code == 3, "what is closed can be approved: {late:?}");

        // The commit that was approved needs no second approval; the other one still needs one.
        pull.head = first;
        project.pull_request(&pull, PullRequestAction::Reopened)?;
        kennel.expect_page(&theirs, "/", "their page", LIMIT)?;
        project.pull_request(&gone, PullRequestAction::Closed { merged: false })?;
        expect_gone(kennel, &project, "refs/pull/5/head")?;
        let builds = builds_of(kennel, &project, "refs/pull/5/head")?;
        ensure!(
            builds.iter().all(|it| is(it, "state", "succeeded") || is(it, "commit", &gone.head)),
            "what nobody approved was built: {builds:?}"
        );
        kennel.expect_page(&ours, "/", "our page", LIMIT)?;
    }
    Ok(())
}

/// What a stranger deploys has no secrets, and less of the host than it asks for.
pub(crate) fn of_strangers_get_no_secrets(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("curious")?;
    for secret in ["PLAIN", "TLS_KEY"] {
        let set = ["kennelctl", "secret", "set", "curious", secret];
        kennel.host().run_with_input(&set, b"told to members")?;
    }
    let toml = "[services.api]\nsecrets = [\"PLAIN\"]\ncredentials = [\"TLS_KEY\"]\n\
                resources = { memory_max = \"1G\", tasks_max = 64 }\n";
    let sources = |text: &str| kennel.sources().service("api", text).kennel_toml(toml);
    let head = project.commit("elsewhere", &sources("theirs"), "theirs")?.after;
    let stranger = PullRequest { head_repository: HeadRepository::Fork, ..of(8, "main", &head) };
    let member = of(9, "elsewhere", &head);
    project.pull_request(&stranger, PullRequestAction::Opened)?;
    project.pull_request(&member, PullRequestAction::Opened)?;
    let [theirs, ours] = ["pr-8", "pr-9"].map(|branch| project.address("api", branch));
    kennel.expect_page(&ours, "/version", "theirs", LIMIT)?;
    expect_waiting(kennel, &project, &head)?;
    kennel.host().run(&["kennelctl", "approve", "curious/pr-8"])?;
    kennel.expect_page(&theirs, "/version", "theirs", LIMIT)?;
    kennel.host().run(&["kennelctl", "redeploy", "curious/pr-8"])?;

    for secret in ["variable=PLAIN", "credential=TLS_KEY"] {
        expect_handed(kennel, &ours, secret, "told to members")?;
        expect_handed(kennel, &theirs, secret, None)?;
    }
    let rows = Rows::read(kennel)?;
    let properties = ["IPAddressDeny", "IPAddressAllow", "MemoryMax", "TasksMax"];
    let show = |git_ref: &str| -> Result<String> {
        let row = rows.of("curious").find(|it| it.git_ref == git_ref && it.state == "active");
        let unit = row.ok_or_else(|| anyhow!("{git_ref} has no unit: {rows:?}"))?.unit();
        let file = kennel.host().run(&["systemctl", "cat", &unit])?;
        ensure!(file.contains("LoadCredential") == (git_ref == "refs/pull/9/head"), "{file}");
        let show = format!("--property={}", properties.join(","));
        kennel.host().run(&["systemctl", "show", &show, &unit])
    };
    let trusted = show("refs/pull/9/head")?;
    for line in ["IPAddressDeny=\n", "MemoryMax=1073741824\n", "TasksMax=64\n"] {
        ensure!(trusted.contains(line), "a member's unit has no {line:?}:\n{trusted}");
    }
    let untrusted = show("refs/pull/8/head")?;
    for word in ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "169.254.0.0/16", "fe80::/10"] {
        ensure!(untrusted.contains(word), "a stranger's unit may reach {word}:\n{untrusted}");
    }
    for line in ["IPAddressAllow=127.0.0.2/32\n", "MemoryMax=536870912\n", "TasksMax=64\n"] {
        ensure!(untrusted.contains(line), "a stranger's unit has no {line:?}:\n{untrusted}");
    }
    let status = kennel.ctl(&["status", "curious"])?;
    let healthy = status.get("deployments").and_then(Value::as_array).is_some_and(|all| {
        all.len() >= 2
            && all.iter().all(|it| !is(it, "state", "active") || is(it, "health", "healthy"))
    });
    ensure!(healthy, "kennelctl cannot ask a stranger's service: {status}");
    Ok(())
}

/// The commit is the one that waits for approval, and is shown as that.
fn expect_waiting(kennel: &Kennel, project: &Project, commit: &str) -> Result<()> {
    kennel.wait_for("commit that waits for approval", LIMIT, || {
        let waiting = waiting(kennel, project)?;
        if waiting == [commit] { Ok(Some(())) } else { Err(anyhow!("{waiting:?} wait")) }
    })?;
    let status = kennel.host().run(&["kennelctl", "status", project.name()])?;
    ensure!(
        status.contains("waiting for approval") && status.contains("kennelctl approve"),
        "kennelctl status does not say what to do:\n{status}"
    );
    Ok(())
}

/// The commits that wait for approval.
fn waiting(kennel: &Kennel, project: &Project) -> Result<Vec<String>> {
    let state = ["builds", "--state", "waiting_for_approval", "--project", project.name()];
    let builds = kennel.ctl(&state)?;
    let commits =
        builds.as_array().into_iter().flatten().filter_map(|it| it.get("commit")?.as_str());
    Ok(commits.map(str::to_owned).collect())
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

fn is(row: &Value, key: &str, value: &str) -> bool {
    row.get(key).is_some_and(|it| it == value)
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
