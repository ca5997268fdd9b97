//! A push to `main` of a new project: from the forge's webhook to pages.

use kennel_tests::{Context, Kennel, LIMIT, Result, ensure};

pub(crate) fn first_push_serves(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let project = kennel.project("first")?;
    let sources = kennel.sources().service("api", "first-1").site("web", "hello from first");
    let pushed = project.push("main", &sources, "say hello")?;

    // Both answer with what was pushed.
    let api = project.address("api", "main");
    let web = project.address("web", "main");
    kennel.expect_page(&api, "/version", "first-1", LIMIT)?;
    kennel.expect_page(&web, "/", "hello from first", LIMIT)?;
    kennel.expect_page(&web, "/assets/main.3f9c2a71.css", "sans-serif", LIMIT)?;
    ensure!(kennel.get(&web, "/not-there")?.status == 404, "a page that is not there answers 200");

    // The service was told who it is.
    let env: serde_json::Value = serde_json::from_slice(&kennel.get(&api, "/env")?.body)?;
    for (name, value) in [
        ("KENNEL_PROJECT", "first"),
        ("KENNEL_BRANCH", "main"),
        ("KENNEL_SERVICE", "api"),
        ("KENNEL_COMMIT", &pushed.after),
    ] {
        let told = env.get(name).and_then(|value| value.as_str());
        ensure!(told == Some(value), "{name} is {told:?}, not {value}: {env}");
    }

    // One unit, in its slice, as its own user.
    let units = host.run(&[
        "systemctl",
        "list-units",
        "--plain",
        "--no-legend",
        "--state=running",
        "kennel-first-main-api@*.service",
    ])?;
    let unit = units.split_whitespace().next().context("no unit of the service runs")?;
    ensure!(units.lines().count() == 1, "more than one unit of the service runs:\n{units}");
    let show = |property: &str| -> Result<String> {
        let value = host.run(&["systemctl", "show", "--value", "-p", property, unit])?;
        Ok(value.trim().to_owned())
    };
    ensure!(show("Slice")? == "kennel-first-main-api.slice", "its slice is {}", show("Slice")?);
    let user = host.run(&["ps", "-o", "user:64=", "-p", &show("MainPID")?])?;
    ensure!(user.trim() == "kennel-first-main-api", "it runs as {user}");
    let status = host.run(&["systemctl", "status", "--no-pager", "kennel-first.slice"])?;
    ensure!(status.contains(unit), "systemctl status of the project does not show it:\n{status}");
    let cgroup = show("ControlGroup")?;
    ensure!(
        cgroup
            == format!(
                "/kennel.slice/kennel-first.slice/kennel-first-main.slice/kennel-first-main-api.slice/{unit}"
            ),
        "its cgroup is {cgroup}"
    );

    // Its environment is root's alone.
    let id = unit.rsplit_once('@').and_then(|(_, id)| id.strip_suffix(".service"));
    let id = id.context("the unit has no deployment id")?;
    let env_file = format!("/run/kennel/secrets/first-main-api@{id}.env");
    let mode = host.run(&["stat", "-c", "%a %U:%G", &env_file])?;
    ensure!(mode.trim() == "400 root:root", "{env_file} is {mode}");

    // Log file and journal tell the story.
    for deployment in project.deployments()? {
        let commit = deployment.get("commit").and_then(|commit| commit.as_str());
        ensure!(commit == Some(&pushed.after), "kennelctl status has another commit: {deployment}");
    }
    let build = project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    let build = build.get("id").context("a build without an id")?;
    let log = host.run(&["cat", &format!("/var/lib/kennel/logs/{build}/api.log")])?;
    ensure!(log.contains("-api"), "the log of api does not name what it built:\n{log}");
    let journal = host.journal(&["-u", &format!("kennel-build@{build}.service")])?;
    for word in ["first", &pushed.after, "api", "web"] {
        ensure!(journal.contains(word), "the build's journal does not say {word}:\n{journal}");
    }
    Ok(())
}
