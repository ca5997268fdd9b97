//! Timers: programs that run at their times, with all of a service's life.

use kennel_tests::{
    Context, Deployment, Kennel, LIMIT, Project, Result, Rows, ensure, expect_deployment,
    expect_failure, expect_gone, expect_no_change, expect_no_leftovers, expect_restored, shown,
};
use serde_json::Value;

const EACH_SECOND: &str = "*-*-* *:*:*";

/// A job of this version, at these times.
fn push(kennel: &Kennel, project: &Project, schedule: &str, job: &str) -> Result<String> {
    let toml =
        format!("[services.api]\n[timers.tidy]\nschedule = \"{schedule}\"\ntimeout_secs = 8\n");
    let sources = kennel.sources().service("api", "tower").service_with("tidy", job);
    Ok(project.push("main", &sources.kennel_toml(&toml), job)?.after)
}

/// From the first version to the branch's end: one timer begins runs, and what a run has begun it
/// may finish.
pub(crate) fn from_first_to_last(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("tower")?;
    let one = push(kennel, &project, EACH_SECOND, "version = tower-1\nworks_ms = 1500\n")?;
    let one = expect_deployment(kennel, &project, "tidy", &one, "active")?;
    expect_lines(kennel, "tower-1 is done", 2)?;
    expect_status(&project, &one, "healthy", "")?;

    // Another commit with the same job: nothing is touched.
    let since = activated(kennel, &one)?;
    let api = kennel.sources().service("api", "tower-2");
    let toml = format!("[services.api]\n[timers.tidy]\nschedule = \"{EACH_SECOND}\"\n");
    let toml = toml + "timeout_secs = 8\n";
    let same = api.service_with("tidy", "version = tower-1\nworks_ms = 1500\n").kennel_toml(&toml);
    let same = project.push("main", &same, "another api")?.after;
    expect_deployment(kennel, &project, "api", &same, "active")?;
    expect_no_change(kennel, &project, "tidy")?;
    ensure!(activated(kennel, &one)? == since, "its timer was started again");

    // No schedule at all, and one that is over: the old one goes on.
    for (schedule, word) in [("fortnightly", "systemd-analyze"), ("2020-02-02", "is over")] {
        let broken = push(kennel, &project, schedule, "version = broken\n")?;
        expect_failure(kennel, &project, "tidy", &broken, &[schedule, word])?;
        kennel.wait_for("first version's timer", LIMIT, || {
            Ok((state_of(kennel, &one.timer())? == "active").then_some(()))
        })?;
    }

    // A run that fails is told, and the next one comes all the same.
    let failing = "version = tower-2\nsay = nothing to tidy\nexit_at_start = 7\n";
    let two = push(kennel, &project, EACH_SECOND, failing)?;
    let two = expect_deployment(kennel, &project, "tidy", &two, "active")?;
    expect_lines(kennel, "nothing to tidy", 2)?;
    kennel.wait_for("failed run in the status", LIMIT, || {
        Ok(expect_status(
            &project,
            &two,
            "unhealthy",
            "its last run failed: it exited with status 7",
        )
        .ok())
    })?;
    let rows = expect_no_leftovers(kennel, "tower")?;
    let count =
        |state| rows.of("tower").filter(|it| it.service == "tidy" && it.state == state).count();
    ensure!((count("active"), count("retired")) == (1, 1), "there are {rows:?}");
    // Whatever ran when the new version came has ended by itself.
    let log = log(kennel)?;
    let (begun, done) = (count_of(&log, "tower-1 works"), count_of(&log, "tower-1 is done"));
    ensure!(begun == done, "of {begun} runs {done} have ended by themselves:\n{log}");

    kennel.host().run(&["kennelctl", "rollback", "tower/main/tidy"])?;
    let rows = Rows::read(kennel)?;
    let back = rows.of("tower").find(|it| it.service == "tidy" && it.state == "active");
    let back = back.context("none runs after a rollback")?;
    ensure!(back.store_path == one.store_path, "it went back to {back:?}");
    expect_restored(kennel, back, &[back.unit(), back.timer()])?;

    kennel.host().run(&["kennelctl", "teardown", "tower/main", "--yes"])?;
    expect_gone(kennel, &project, "refs/heads/main").map(drop)
}

/// `command` names one of several programs; a key that a timer has not is told with its line.
pub(crate) fn of_one_program_of_several(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("belfry")?;
    let toml = "[timers.bell]\nschedule = \"hourly\"\ncommand = \"bin/ring\"\n";
    let missing = kennel.sources().service("bell", "v1").kennel_toml(toml);
    let missing = project.push("main", &missing, "no such program")?.after;
    expect_failure(kennel, &project, "bell", &missing, &["`ring`", "it holds bell"])?;
    let there = kennel.sources().service("bell", "v1").kennel_toml(&toml.replace("ring", "bell"));
    let there = project.push("main", &there, "there it is")?.after;
    let there = expect_deployment(kennel, &project, "bell", &there, "active")?;
    // By hand it runs when it is wanted.
    kennel.host().run(&["systemctl", "start", "--no-block", &there.unit()])?;
    kennel.wait_for("run by hand", LIMIT, || {
        let log = kennel.host().run(&["kennelctl", "logs", "belfry/main/bell"])?;
        Ok(log.contains("v1 works").then_some(()))
    })?;
    kennel.host().run(&["kennelctl", "teardown", "belfry/main", "--yes"])?;
    expect_gone(kennel, &project, "refs/heads/main").map(drop)
}

fn expect_status(project: &Project, it: &Deployment, health: &str, detail: &str) -> Result<()> {
    let line = shown(project, it)?;
    let says = |key: &str, value: Value| line.get(key) == Some(&value);
    let is_right = says("kind", "timer".into())
        && says("health", health.into())
        && line.get("health_detail").and_then(Value::as_str).unwrap_or_default() == detail
        && says("unit", it.timer().into())
        && says("urls", Value::Array(Vec::new()));
    ensure!(is_right, "the status says {line}");
    Ok(())
}

/// Waits until it has been said so often.
fn expect_lines(kennel: &Kennel, line: &str, often: usize) -> Result<()> {
    kennel.wait_for(&format!("{often} times {line:?}"), LIMIT, || {
        Ok((count_of(&log(kennel)?, line) >= often).then_some(()))
    })
}

fn log(kennel: &Kennel) -> Result<String> {
    kennel.host().run(&["kennelctl", "logs", "tower/main/tidy", "--lines=1000"])
}

fn count_of(log: &str, line: &str) -> usize {
    log.lines().filter(|it| it.ends_with(line)).count()
}

fn activated(kennel: &Kennel, it: &Deployment) -> Result<String> {
    let property = "--property=ActiveEnterTimestampMonotonic";
    kennel.host().run(&["systemctl", "show", "--value", property, &it.timer()])
}

fn state_of(kennel: &Kennel, unit: &str) -> Result<String> {
    let show = ["systemctl", "show", "--value", "--property=ActiveState", unit];
    Ok(kennel.host().run(&show)?.trim().to_owned())
}
