//! The newest push of a branch is what serves in the end, however the ones before it fare.

use kennel_tests::{
    Edit, Event, Kennel, LIMIT, Result, Rows, anyhow, builders, ensure, expect_deployment,
    expect_no_leftovers, that_waits,
};

/// What is being brought up, and would be for ten minutes, gives way to what was pushed after it.
pub(crate) fn comes_after_a_slow_one(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("latest-slow")?;
    let toml = "[services.api]\nhealth_check = \"/health\"\nhealth_check_timeout_secs = 600\n";
    let sources = |conf: &str| kennel.sources().service_with("api", conf).kennel_toml(toml);
    let address = project.address("api", "main");
    let first = project.push("main", &sources("version = one\n"), "one")?.after;
    kennel.expect_page(&address, "/version", "one", LIMIT)?;
    let slow =
        project.push("main", &sources("version = two\nnever_healthy = true\n"), "two")?.after;
    expect_deployment(kennel, &project, "api", &slow, "starting")?;
    let newest = project.push("main", &sources("version = three\n"), "three")?.after;
    kennel.expect_page(&address, "/version", "three", LIMIT)?;
    let newest = expect_deployment(kennel, &project, "api", &newest, "active")?;
    expect_deployment(kennel, &project, "api", &slow, "superseded")?;
    let rows = expect_no_leftovers(kennel, project.name())?;
    let serving: Vec<_> =
        rows.of(project.name()).filter(|it| it.state == "active").map(|it| it.id).collect();
    ensure!(serving == [newest.id], "{serving:?} serve, after {first}");
    Ok(())
}

/// A branch is moved by force: to a commit beside its last one, and back to one that it had before.
pub(crate) fn goes_where_the_branch_goes(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("latest-forced")?;
    let address = project.address("web", "main");
    let push = |text: &str| project.push("main", &kennel.sources().site("web", text), text);
    let first = push("one")?;
    kennel.expect_page(&address, "/", "one", LIMIT)?;
    let second = push("two")?;
    kennel.expect_page(&address, "/", "two", LIMIT)?;

    let beside = Edit {
        branch: "main".to_owned(),
        path: "sites/web/index.html".to_owned(),
        text: "beside two".to_owned(),
    };
    let beside = project.commit_edits(&first.after, &[beside])?;
    let moved = |before: &str, after: &str| Event::Push {
        branch: "main".to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    };
    let beside = beside.first().ok_or_else(|| anyhow!("no commit was made"))?;
    project.tell(&moved(&second.after, &beside.after))?;
    kennel.expect_page(&address, "/", "beside two", LIMIT)?;

    project.tell(&moved(&beside.after, &first.after))?;
    kennel.expect_page(&address, "/", "one", LIMIT)?;
    expect_no_leftovers(kennel, project.name())?;
    Ok(())
}

/// A build that would take hours is ended by the next push, with all its processes.
pub(crate) fn ends_what_is_being_built(kennel: &Kennel) -> Result<()> {
    const HOURS: u32 = 33_001;
    let project = kennel.project("latest-running")?;
    let long = project.push("main", &that_waits(kennel, HOURS), "long")?.after;
    kennel.wait_for("builder that never ends", LIMIT, || {
        Ok((!builders(kennel, HOURS)?.is_empty()).then_some(()))
    })?;
    let next = project.push("main", &kennel.sources().site("web", "short"), "short")?.after;
    kennel.expect_page(&project.address("web", "main"), "/", "short", LIMIT)?;
    project.expect_build(&long, "superseded", LIMIT)?;
    project.expect_build(&next, "succeeded", LIMIT)?;
    kennel.wait_for("end of the builder", LIMIT, || {
        let left = builders(kennel, HOURS)?;
        if left.is_empty() { Ok(Some(())) } else { Err(anyhow!("{left}")) }
    })?;
    let rows = Rows::read(kennel)?;
    ensure!(rows.at(project.name(), "web", &long).is_none(), "what was superseded is deployed");
    Ok(())
}
