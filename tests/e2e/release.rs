//! A service's release program: once, before the new version gets traffic, or the old one stays.

use kennel_tests::{
    Context, Kennel, LIMIT, Result, Rows, Sources, anyhow, ensure, expect_failure,
    expect_no_leftovers,
};

const TOML: &str = "[services.api]\nrelease = \"bin/migrate\"\nenv = { GREETING = \"hello\" }\n";

/// What the release program of each version does, after it has written down that it runs.
const AT_ONCE: &str = "exit 0";
const UNTIL_LET_GO: &str = "until test -e go; do sleep 0.05; done";
const BADLY: &str = "echo there is no such table; exit 3";

/// It runs once, with all that the service has, though kennel-deploy is killed meanwhile; a failure
/// keeps the old version; and a way back has had its turn.
pub(crate) fn runs_once_before_traffic(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("release")?;
    let host = kennel.host();
    let address = project.address("api", "main");
    let first = project.push("main", &sources(kennel, "v1", AT_ONCE), "v1")?.after;
    kennel.expect_page(&address, "/version", "v1", LIMIT)?;
    expect_released(kennel, &[&first])?;

    let second = project.push("main", &sources(kennel, "v2", UNTIL_LET_GO), "v2")?.after;
    kennel.wait_for("release program that runs", LIMIT, || {
        Ok(released(kennel)?.ends_with(&format!("{second} hello\n")).then_some(()))
    })?;
    let deployment = deployment(kennel, &second)?;
    let job = format!("kennel-deploy@{deployment}.service");
    kennel.expect_page(&address, "/version", "v1", LIMIT)?;
    let killed = host.run(&["systemctl", "show", "--property=MainPID", &job])?;
    host.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", &job])?;
    kennel.wait_for("the job to run again", LIMIT, || {
        let shown = ["systemctl", "show", "--property=MainPID", "--property=StatusText", &job];
        let shown = host.run(&shown)?;
        let is_new = !shown.contains(&killed) && !shown.contains("MainPID=0\n");
        Ok((is_new && shown.contains("running bin/migrate")).then_some(()))
    })?;
    host.sh(&format!("touch {}/go", data(kennel)?))?;
    kennel.expect_page(&address, "/version", "v2", LIMIT)?;
    expect_released(kennel, &[&first, &second])?;

    let third = project.push("main", &sources(kennel, "v3", BADLY), "v3")?.after;
    expect_failure(
        kennel,
        &project,
        "api",
        &third,
        &["the release program bin/migrate failed (", "there is no such table"],
    )?;
    kennel.expect_page(&address, "/version", "v2", LIMIT)?;
    expect_no_leftovers(kennel, project.name())?;

    let absent = sources(kennel, "v4", AT_ONCE).kennel_toml(&TOML.replace("migrate", "absent"));
    let fourth = project.push("main", &absent, "v4")?.after;
    expect_failure(
        kennel,
        &project,
        "api",
        &fourth,
        &["no program called `absent`", "api, migrate"],
    )?;

    host.run(&["kennelctl", "rollback", "release/main/api"])?;
    kennel.expect_page(&address, "/version", "v1", LIMIT)?;
    expect_released(kennel, &[&first, &second, &third])?;
    expect_no_leftovers(kennel, project.name())?;
    Ok(())
}

fn sources(kennel: &Kennel, version: &str, release: &str) -> Sources {
    let recipe = format!(
        "{{ program }}: ''
          $bb mkdir -p $out/bin $out/share
          $bb cp ${{program}}/service $out/bin/api
          $bb cp ${{./service.conf}} $out/share/service.conf
          $bb printf '#!/bin/sh\\necho \"$%s $%s\" >> released\\n%s\\n' \
            KENNEL_COMMIT GREETING '{release}' > $out/bin/migrate
          $bb chmod 755 $out/bin/migrate
        ''"
    );
    let sources = kennel.sources().service("api", version).kennel_toml(TOML);
    sources.file("services/api/recipe.nix", recipe)
}

/// The service's state directory, as root sees it.
fn data(kennel: &Kennel) -> Result<String> {
    let rows = Rows::read(kennel)?;
    let user = rows.of("release").map(|it| it.user.clone()).next().context("no deployment")?;
    Ok(format!("/var/lib/private/kennel/data/{user}"))
}

fn released(kennel: &Kennel) -> Result<String> {
    let path = format!("{}/released", data(kennel)?);
    kennel.host().run(&["cat", &path])
}

/// The release programs of these commits have run, in this order, each once.
fn expect_released(kennel: &Kennel, commits: &[&str]) -> Result<()> {
    let found = released(kennel)?;
    let expected: String = commits.iter().map(|commit| format!("{commit} hello\n")).collect();
    ensure!(found == expected, "released were {found:?} instead of {expected:?}");
    Ok(())
}

fn deployment(kennel: &Kennel, commit: &str) -> Result<i64> {
    let rows = Rows::read(kennel)?;
    let found = rows.at("release", "api", commit).map(|it| it.id);
    found.ok_or_else(|| anyhow!("{commit} has no deployment"))
}
