//! A push that changes nothing of what serves: it is on record, and no process is touched.

use kennel_tests::{
    Context, Kennel, LIMIT, Project, Result, anyhow, ensure, expect_deployment, expect_no_leftovers,
};
use serde_json::Value;

use crate::secrets::expect_handed;

const TOML: &str = "[services.api]\nsecrets = [\"TOKEN\"]\ncredentials = [\"KEY\"]\n\
                    [static_sites.web]\n";

/// Who serves: deployment and process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Serving {
    deployment: i64,
    pid: String,
}

pub(crate) fn keeps_its_process(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("unchanged")?;
    set(kennel, "TOKEN", "one")?;
    set(kennel, "KEY", "two\nlines\n")?;
    let api = project.address("api", "main");
    let mut pushes = 0;
    let mut push = |version: &str, site: &str| -> Result<String> {
        pushes += 1;
        let notes = format!("push {pushes}\n");
        let sources = kennel.sources().service("api", version).site("web", site);
        let sources = sources.file("NOTES.md", notes).kennel_toml(TOML);
        Ok(project.push("main", &sources, "a push")?.after)
    };
    let first = serving(kennel, &project, &push("same", "same")?)?;

    // Another commit, twice, and nothing else.
    for _ in 0..2 {
        let commit = push("same", "same")?;
        let again = serving(kennel, &project, &commit)?;
        ensure!(again == first, "{commit} is served by {again:?} instead of {first:?}");
        let rows = expect_no_leftovers(kennel, project.name())?;
        let noted: Vec<_> = rows
            .of(project.name())
            .filter(|it| it.commit == commit && it.state == "unchanged")
            .map(|it| (it.service.as_str(), it.reason.clone().unwrap_or_default()))
            .collect();
        ensure!(noted.len() == 2, "of what did not change there are {noted:?}");
        let site = expect_deployment(kennel, &project, "web", &commit, "active")?;
        let why = format!("deployment {} serves the same", site.id);
        ensure!(noted.contains(&("web", why)), "of what did not change there are {noted:?}");
        let status = kennel.ctl(&["status", "unchanged"])?;
        let shown = status.get("deployments").and_then(Value::as_array).context("no status")?;
        let of_commit = |it: &Value| it.get("commit").is_some_and(|it| *it == commit);
        ensure!(shown.len() == 2 && shown.iter().all(of_commit), "kennelctl shows {status}");
    }

    // Only a variable's secret, only a credential, only the site: each is another version.
    set(kennel, "TOKEN", "three")?;
    let second = serving(kennel, &project, &push("same", "same")?)?;
    expect_another(&first, &second)?;
    expect_handed(kennel, &api, "variable=TOKEN", "three")?;
    set(kennel, "KEY", "four\nlines\n")?;
    let third = serving(kennel, &project, &push("same", "same")?)?;
    expect_another(&second, &third)?;
    expect_handed(kennel, &api, "credential=KEY", "four\nlines\n")?;
    let commit = push("same", "another site")?;
    kennel.expect_page(&project.address("web", "main"), "/", "another site", LIMIT)?;
    let fourth = serving(kennel, &project, &commit)?;
    ensure!(fourth == third, "another site made {fourth:?} of {third:?}");

    // A person who asks for it gets a new process, also straight after a push that changed nothing.
    kennel.host().run(&["kennelctl", "redeploy", "unchanged/main/api"])?;
    let fifth = serving(kennel, &project, &commit)?;
    expect_another(&fourth, &fifth)?;
    // One that does not run is brought up again.
    let unit = expect_deployment(kennel, &project, "api", &commit, "active")?.unit();
    kennel.host().run(&["systemctl", "stop", &unit])?;
    let sixth = serving(kennel, &project, &push("same", "another site")?)?;
    expect_another(&fifth, &sixth)?;
    expect_no_leftovers(kennel, project.name())?;
    Ok(())
}

/// Waits until the commit serves, and says by whom.
fn serving(kennel: &Kennel, project: &Project, commit: &str) -> Result<Serving> {
    expect_deployment(kennel, project, "web", commit, "active")?;
    let deployment = kennel.wait_for("deployment that serves", LIMIT, || {
        let rows = kennel_tests::Rows::read(kennel)?;
        let row = rows.at(project.name(), "api", commit).context("no row")?;
        if row.state == "active" { Ok(Some(row.clone())) } else { Err(anyhow!("{row:?}")) }
    })?;
    let show = ["systemctl", "show", "--value", "--property=MainPID", &deployment.unit()];
    let pid = kennel.host().run(&show)?.trim().to_owned();
    ensure!(pid != "0", "{deployment:?} has no process");
    Ok(Serving { deployment: deployment.id, pid })
}

fn expect_another(old: &Serving, new: &Serving) -> Result<()> {
    let other = old.deployment != new.deployment && old.pid != new.pid;
    ensure!(other, "what differs is served by {new:?} after {old:?}");
    Ok(())
}

fn set(kennel: &Kennel, name: &str, value: &str) -> Result<()> {
    let argv = ["kennelctl", "secret", "set", "unchanged", name];
    kennel.host().run_with_input(&argv, value.as_bytes()).map(drop)
}
