//! Lost webhooks: found by a look at the forge, and nothing else is found.

use kennel_tests::{
    Context, Kennel, LIMIT, Project, Result, Rows, anyhow, builds_of, ensure, expect_gone,
    expect_nothing_left,
};
use serde_json::Value;

const FEATURE: &str = "refs/heads/feature/x";

/// A push that nobody tells of serves, and a branch that is deleted in silence goes.
pub(crate) fn untold(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("untold")?;
    let site = |text: &str| kennel.sources().site("web", text);
    project.push("main", &site("told"), "told")?;
    project.commit("stale", &site("stale"), "from before Kennel")?;
    kennel.expect_page(&project.address("web", "main"), "/", "told", LIMIT)?;
    look(kennel, &project)?;

    project.commit("main", &site("untold"), "in silence")?;
    project.commit("feature/x", &site("feature"), "in silence")?;
    look(kennel, &project)?;
    kennel.expect_page(&project.address("web", "main"), "/", "untold", LIMIT)?;
    let slug = kennel.wait_for("deployment of the branch", LIMIT, || {
        let rows = Rows::read(kennel)?;
        Ok(rows.of("untold").find(|it| it.git_ref == FEATURE).map(|it| it.slug.clone()))
    })?;
    kennel.expect_page(&project.address("web", &slug), "/", "feature", LIMIT)?;
    ensure!(builds_of(kennel, &project, "refs/heads/stale")?.is_empty(), "stale was built");

    project.forget("feature/x")?;
    look(kennel, &project)?;
    expect_gone(kennel, &project, FEATURE)?;

    // Nothing is found twice.
    let known = builds_of(kennel, &project, "refs/heads/main")?.len();
    look(kennel, &project)?;
    let builds = builds_of(kennel, &project, "refs/heads/main")?;
    ensure!(builds.len() == known && known == 2, "main was built again: {builds:?}");
    kennel.wait_for("journal that names each of them once", LIMIT, || {
        let journal = kennel.host().journal(&["-u", &unit(&project), "-o", "cat"])?;
        let said = ["nobody told that main is at", "nobody told that feature/x is gone"];
        let once = said.iter().all(|said| journal.matches(said).count() == 1);
        if once { Ok(Some(())) } else { Err(anyhow!("it says {journal}")) }
    })
}

/// A forge that is away, or has an empty repository in place of the one that was there.
pub(crate) fn unreachable(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("unreachable")?;
    let site = |text: &str| kennel.sources().site("web", text);
    project.push("main", &site("main"), "one")?;
    let feature = project.push("feature/x", &site("feature"), "two")?;
    kennel.expect_page(&project.address("web", "main"), "/", "main", LIMIT)?;
    project.expect_build(&feature.after, "succeeded", LIMIT)?;
    kennel.wait_for("deployment of the branch", LIMIT, || {
        let rows = Rows::read(kennel)?;
        Ok(rows
            .of(project.name())
            .find(|it| it.git_ref == FEATURE && it.state == "active")
            .map(drop))
    })?;

    let repository = project.repository();
    let away = format!("{repository}.away");
    kennel.host().run(&["mv", &repository, &away])?;
    look(kennel, &project)?;
    let said = expect_doctor(kennel, "cannot be read; does it exist")?;
    ensure!(said.contains(project.name()), "the doctor names no project: {said}");
    kennel.host().sh(&format!(
        "git init -q --bare -b main {repository} && chown -R kennel-build: {repository}"
    ))?;
    look(kennel, &project)?;
    expect_doctor(kennel, "has no branch main")?;
    let rows = Rows::read(kennel)?;
    let active = rows.of(project.name()).filter(|it| it.state == "active").count();
    ensure!(active == 2, "{active} of two serve");

    kennel.host().sh(&format!("rm -r {repository} && mv {away} {repository}"))?;
    project.forget("feature/x")?;
    look(kennel, &project)?;
    expect_gone(kennel, &project, FEATURE)?;
    kennel.expect_page(&project.address("web", "main"), "/", "main", LIMIT)?;
    project.forget("main")?;
    project.tell(&kennel_tests::Event::BranchDeleted {
        branch: "main".to_owned(),
        last: feature.after,
    })?;
    expect_gone(kennel, &project, "refs/heads/main")?;
    expect_nothing_left(kennel, project.name())?;
    Ok(())
}

fn unit(project: &Project) -> String {
    format!("look-at-{}.service", project.name())
}

/// Runs a copy of kennel-poll.service, in the same sandbox, for one project alone: others' forges
/// know of what their tests have not told yet.
fn look(kennel: &Kennel, project: &Project) -> Result<()> {
    let (unit, name) = (unit(project), project.name());
    kennel.host().sh(&format!(
        "cd /run/systemd/system && test -e {unit} || \
         sed 's|^ExecStart=.*|& {name}|' /usr/lib/systemd/system/kennel-poll.service > {unit}; \
         systemctl start {unit}"
    ))?;
    Ok(())
}

/// What the doctor says of forges, which must contain `words`.
fn expect_doctor(kennel: &Kennel, words: &str) -> Result<String> {
    let said = kennel.host().try_run(&["kennelctl", "doctor", "--json"])?;
    let report: Value = serde_json::from_str(&said.stdout).context("the doctor's answer")?;
    let findings = report.get("findings").and_then(Value::as_array).context("no findings")?;
    let of_forges =
        findings.iter().filter(|it| it.get("check").is_some_and(|it| it == "network.forges"));
    let said = of_forges.map(Value::to_string).collect::<Vec<_>>().join("\n");
    ensure!(said.contains(words), "the doctor does not say {words:?} but {said}");
    Ok(said)
}
