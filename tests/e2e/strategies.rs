//! A service of which two must never run at once: it locks a file in its state directory, as a
//! database does, and leaves if another has it.

use kennel_tests::{
    Kennel, LIMIT, Load, Project, Result, ensure, expect_deployment, expect_failure,
    expect_no_leftovers,
};

/// Visitors at once, of every kind that there is.
const VISITORS: usize = 30;

/// Versions come, fail and come back, and nobody is sent away. Were two there at once, the second
/// would end and its deployment fail.
pub(crate) fn one_after_the_other(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("cell")?;
    let first = push(kennel, &project, "version = v1\nalone = true\n")?;
    expect_deployment(kennel, &project, "api", &first, "active")?;
    let load = kennel.load(&project.address("api", "main"), VISITORS)?;
    kennel.wait_for("visitors of every kind", LIMIT, || {
        let report = load.report();
        Ok((report.kinds.len() == 6 && report.requests > 300).then_some(()))
    })?;

    // Long enough in coming that somebody surely waits.
    let second = push(kennel, &project, "version = v2\nalone = true\nstart_delay_ms = 500\n")?;
    expect_deployment(kennel, &project, "api", &second, "active")?;
    expect_version(kennel, &load, "v2")?;

    // One that does not come: the one of before is back, and answers who waited for the new one.
    let broken = push(kennel, &project, "say = no database\nexit_at_start = 7\n")?;
    expect_failure(kennel, &project, "api", &broken, &["status 7", "no database"])?;
    let late = push(kennel, &project, "version = v3\nalone = true\nnever_healthy = true\n")?;
    expect_failure(kennel, &project, "api", &late, &["not healthy"])?;
    kennel.expect_page(&project.address("api", "main"), "/version", "v2", LIMIT)?;

    let fourth = push(kennel, &project, "version = v4\nalone = true\n")?;
    expect_deployment(kennel, &project, "api", &fourth, "active")?;
    expect_version(kennel, &load, "v4")?;
    kennel.host().run(&["kennelctl", "rollback", "cell/main/api"])?;
    kennel.expect_page(&project.address("api", "main"), "/version", "v2", LIMIT)?;
    let report = load.stop()?;
    ensure!(report.failures == 0, "of {} requests failed: {report:?}", report.requests);

    expect_no_leftovers(kennel, project.name()).map(drop)
}

/// Pushes it, and returns the commit.
fn push(kennel: &Kennel, project: &Project, conf: &str) -> Result<String> {
    let timeout = if conf.contains("never_healthy") { 3 } else { 30 };
    let toml =
        format!("[services.api]\nstrategy = \"recreate\"\nhealth_check_timeout_secs = {timeout}\n");
    let sources = kennel.sources().service_with("api", conf).kennel_toml(&toml);
    Ok(project.push("main", &sources, conf)?.after)
}

fn expect_version(kennel: &Kennel, load: &Load, version: &str) -> Result<()> {
    kennel.wait_for(&format!("answers of {version}"), LIMIT, || {
        Ok(load.report().versions.contains_key(version).then_some(()))
    })
}
