//! Names that look alike, are odd or as long as may be: each has its own host, unit and user.

use std::collections::BTreeSet;

use kennel_tests::{
    Asked, Context, Event, Kennel, LIMIT, NO_COMMIT, Project, Result, Rows, ensure,
    expect_nothing_left,
};
use serde_json::Value;

/// 32 characters, the most that there may be.
const PROJECT: &str = "names-that-are-as-long-as-may-be";

/// 40 characters, likewise.
const SERVICE: &str = "a-service-with-a-name-as-long-as-may-be1";

pub(crate) fn that_look_alike_never_meet(kennel: &Kennel) -> Result<()> {
    let long = format!("long/{}", "b".repeat(195));
    let branches = [
        ("feature/X_y", "api"),
        ("feature/x", "api"),
        ("feature-x", "api"),
        ("v2-x", "api"),
        ("x", "api-v2"),
        ("odd/%n$(id)'\"ü", "api"),
        (&long, SERVICE),
        (&long, "api"),
    ];
    ensure!(PROJECT.len() == 32 && SERVICE.len() == 40 && long.len() == 200, "not at the limits");
    let project = kennel.project(PROJECT)?;
    let version = |branch: &str, service: &str| {
        let number = branches.iter().position(|it| *it == (branch, service)).unwrap_or_default();
        format!("alike-{number}")
    };
    let distinct: BTreeSet<&str> = branches.iter().map(|(branch, _)| *branch).collect();
    for branch in &distinct {
        let mut sources = kennel.sources();
        for (_, service) in branches.iter().filter(|(it, _)| it == branch) {
            sources = sources.service(service, &version(branch, service)).site("web", branch);
        }
        project.push(branch, &sources, "alike")?;
    }
    let wanted = branches.len() + distinct.len();
    let serving = kennel.wait_for("all of them serving", LIMIT, || {
        let all = project.deployments()?;
        let serve = all.iter().filter(|it| text(it, "state") == "active").count();
        ensure!(all.len() == serve, "{serve} of {} serve: {all:?}", all.len());
        Ok((serve == wanted).then_some(all))
    })?;

    let mut hosts = BTreeSet::new();
    let (mut units, mut users) = (BTreeSet::new(), BTreeSet::new());
    for it in &serving {
        let (branch, name) = (text(it, "branch"), text(it, "name"));
        let urls = it.get("urls").and_then(Value::as_array).context("it has no urls")?;
        ensure!(urls.len() == 1, "{it} has {} urls", urls.len());
        let url = urls.first().and_then(Value::as_str).unwrap_or_default();
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let label = host.split('.').next().unwrap_or_default();
        ensure!(label.len() <= 63, "{label} is no label");
        if name == "web" {
            kennel.expect_page(&host, "/", branch, LIMIT)?;
        } else {
            kennel.expect_page(&host, "/version", &version(branch, name), LIMIT)?;
            let env: Value = serde_json::from_slice(&kennel.get(&host, "/env")?.body)?;
            let told = |key: &str| env.get(key).and_then(Value::as_str).unwrap_or_default();
            ensure!(told("KENNEL_BRANCH") == branch, "{branch} is told {env}");
            ensure!(told("KENNEL_SERVICE") == name, "{name} is told {env}");
            ensure!(told("KENNEL_URL").contains(&host), "{host} is told {env}");
            let unit = text(it, "unit");
            let show = |key| kennel.host().run(&["systemctl", "show", "--value", "-p", key, unit]);
            let user = show("User")?.trim().to_owned();
            ensure!(user.len() <= 31, "{user} is too long for a user");
            let process = show("MainPID")?;
            let runs = kennel.host().run(&["ps", "-o", "user:64=", "-p", process.trim()])?;
            ensure!(runs.trim() == user, "{unit} runs as {runs}, not as {user}");
            ensure!(units.insert(show("Slice")?), "{unit} is in the slice of another");
            ensure!(users.insert(user), "{unit} runs as the user of another");
        }
        ensure!(hosts.insert(host), "{it} has the host of another");
    }
    ensure!(hosts.len() == wanted, "{} hosts for {wanted}", hosts.len());
    // Where nothing is lost the plain name is kept; of two that would share one, the first has it.
    for (name, slug) in [("api", "feature-x"), ("api", "v2-x")] {
        let plain = project.address(name, slug);
        ensure!(hosts.contains(&plain), "nobody has {plain}: {hosts:?}");
    }

    for branch in &distinct {
        project.delete_branch(branch)?;
    }
    kennel.wait_for("end of all branches", LIMIT, || {
        let rows = Rows::read(kennel)?;
        Ok((rows.of(PROJECT).all(|it| it.state == "torn_down")).then_some(()))
    })?;
    expect_nothing_left(kennel, PROJECT)?;
    for host in &hosts {
        ensure!(kennel.get(host, "/")?.status == 404, "{host} still answers");
    }
    Ok(())
}

/// One more than there may be: refused with the reason, and nothing comes of it.
pub(crate) fn over_the_limits_are_refused(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("overlong")?;
    let long = format!("{SERVICE}x");
    let sources = kennel.sources().service(&long, "overlong");
    let pushed = project.push("main", &sources, "too long")?;
    let build = project.expect_build(&pushed.after, "failed", LIMIT)?;
    let reason = text(&build, "reason");
    for word in ["kennel.toml:1", &long, "longer than 40 characters"] {
        ensure!(reason.contains(word), "the reason does not say {word}: {reason}");
    }

    // Git takes longer ones, as long as each part between slashes is a file's name.
    let branch = format!("{}/{}", "b".repeat(150), "c".repeat(150));
    expect_refused(kennel, &project, &branch)?;
    expect_refused(kennel, &project, "no..branch")?;
    ensure!(Rows::read(kennel)?.of("overlong").count() == 0, "something was deployed");
    expect_nothing_left(kennel, "overlong")?;
    Ok(())
}

/// The forge is told that it was understood and why nothing follows; there is no row of it.
fn expect_refused(kennel: &Kennel, project: &Project, branch: &str) -> Result<()> {
    let before = Asked::about(kennel, project.name())?.len();
    let event = Event::Push {
        branch: branch.to_owned(),
        before: NO_COMMIT.to_owned(),
        after: "a".repeat(40),
    };
    for answer in project.deliver(&event)? {
        let said = answer.text();
        ensure!(answer.status < 500 && said.contains("branch"), "{}: {said}", answer.status);
    }
    let after = Asked::about(kennel, project.name())?;
    ensure!(after.len() == before, "a row came of it: {:?}", after.last());
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
