//! `kennelctl redeploy`: what is built already is deployed again, and what failed is built again.

use kennel_tests::{
    Context, Deployment, Kennel, LIMIT, Project, Result, Rows, ensure, expect_no_leftovers,
};

const VISITORS: usize = 20;

/// Service and site of a branch under visitors; one of them alone; and not after a teardown.
pub(crate) fn of_what_serves(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("again")?;
    let sources = kennel.sources().service("api", "v1").site("web", "here it is");
    let pushed = project.push("main", &sources, "v1")?;
    let (api, web) = (project.address("api", "main"), project.address("web", "main"));
    kennel.expect_page(&api, "/version", "v1", LIMIT)?;
    kennel.expect_page(&web, "/", "here it is", LIMIT)?;
    let [old_api, old_web] = active(kennel, &project)?;
    let old_pid = pid(kennel, &old_api)?;

    let load = kennel.load(&api, VISITORS)?;
    kennel.wait_for("visitors", LIMIT, || Ok((load.requests() > 100).then_some(())))?;
    let said = kennel.host().run(&["kennelctl", "redeploy", "again/main"])?;
    for name in ["again/main/api serves at ", "again/main/web serves at "] {
        ensure!(said.contains(name), "it does not say that {name}: {said}");
    }
    // No patience here: it said that everything serves.
    let [new_api, new_web] = active(kennel, &project)?;
    for (old, new) in [(&old_api, &new_api), (&old_web, &new_web)] {
        ensure!(new.id > old.id, "{new:?} is not new beside {old:?}");
        let same =
            (&old.commit, &old.store_path, old.build) == (&new.commit, &new.store_path, new.build);
        ensure!(same && new.commit == pushed.after, "{new:?} is not what {old:?} was");
    }
    ensure!(pid(kennel, &new_api)? != old_pid, "the process is still {old_pid}");
    let builds = kennel.ctl(&["builds", "again/main", "--state", "succeeded", "--since", "1h"])?;
    ensure!(builds.as_array().is_some_and(|it| it.len() == 1), "something was built: {builds}");
    expect_watched(kennel, &new_api)?;
    kennel.wait_for("end of the old ones", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let retired = rows.of("again").filter(|it| it.state == "retired").count();
        Ok((retired == 2).then_some(()))
    })?;
    load.stop()?.expect_clean()?;
    kennel.expect_page(&web, "/", "here it is", LIMIT)?;

    kennel.host().run(&["kennelctl", "redeploy", "again/main/web"])?;
    let [api_now, web_now] = active(kennel, &project)?;
    ensure!(api_now.id == new_api.id, "the service was deployed again with the site");
    ensure!(web_now.id > new_web.id, "the site was not deployed again");
    expect_no_leftovers(kennel, "again")?;

    kennel.host().run(&["kennelctl", "teardown", "again/main", "--yes"])?;
    let refused = kennel.host().try_run(&["kennelctl", "redeploy", "again/main"])?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("has ended: it was torn down by root"),
        "a branch that was torn down is deployed again: {refused:?}"
    );
    Ok(())
}

/// The repository cannot be reached when the build wants it, and can be later.
pub(crate) fn of_a_build_whose_cause_has_gone(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("later")?;
    let pushed = project.commit("main", &kennel.sources().site("web", "at last"), "v1")?;
    let repository = project.repository();
    let away = format!("{repository}.away");
    kennel.host().run(&["mv", &repository, &away])?;
    project.tell(&pushed.event())?;
    project.expect_build(&pushed.after, "failed", LIMIT)?;
    let refused = kennel.host().try_run(&["kennelctl", "redeploy", "later/main"])?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("kennelctl redeploy later/main --rebuild"),
        "it does not say how to build it again: {refused:?}"
    );
    kennel.host().run(&["mv", &away, &repository])?;

    let said = kennel.host().run(&["kennelctl", "redeploy", "later/main", "--rebuild"])?;
    ensure!(said.contains("later/main/web serves at "), "it does not serve: {said}");
    kennel.expect_page(&project.address("web", "main"), "/", "at last", LIMIT)?;
    let builds = kennel.ctl(&["builds", "--project", "later"])?;
    let commits: Vec<_> =
        builds.as_array().into_iter().flatten().map(|it| it.get("commit").cloned()).collect();
    ensure!(commits.len() == 2 && commits.first() == commits.last(), "the builds are {builds}");
    Ok(())
}

/// The deployments of `api` and `web` that serve.
fn active(kennel: &Kennel, project: &Project) -> Result<[Deployment; 2]> {
    let rows = Rows::read(kennel)?;
    let find = |name: &str| {
        let mut all =
            rows.of(project.name()).filter(|it| it.service == name && it.state == "active");
        all.next().cloned().with_context(|| format!("no {name} serves: {:?}", rows.deployments))
    };
    Ok([find("api")?, find("web")?])
}

/// On a terminal it is drawn in place, and the terminal is given back.
fn expect_watched(kennel: &Kennel, deployment: &Deployment) -> Result<()> {
    let watch = "timeout --foreground --signal=INT 1 kennelctl status again --watch";
    let script = format!("stty rows 24 cols 100; {watch}; echo ended with $?; stty -a");
    let said = kennel.host().run(&["script", "--quiet", "--command", &script, "/dev/null"])?;
    let [begin, end] = ["\u{1b}[?1049h", "\u{1b}[?1049l"];
    let (_, drawn) = said.split_once(begin).with_context(|| format!("{said:?}"))?;
    let (drawn, after) = drawn.split_once(end).with_context(|| format!("{said:?}"))?;
    let commit = deployment.commit.get(..12).context("a short commit")?;
    ensure!(drawn.contains("again/main/api") && drawn.contains(commit), "drawn is {drawn:?}");
    // timeout says 124 where the program took the signal.
    ensure!(after.contains("ended with 124"), "it ended so: {after:?}");
    ensure!(after.contains(" echo "), "the terminal does not echo any more: {after:?}");
    Ok(())
}

fn pid(kennel: &Kennel, deployment: &Deployment) -> Result<String> {
    let unit = deployment.unit();
    kennel.host().run(&["systemctl", "show", "--property=MainPID", "--value", &unit])
}
