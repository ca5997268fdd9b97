//! Services that nobody uses are stopped, and whoever comes next wakes them and does not notice.

use std::thread;
use std::time::{Duration, Instant};

use kennel_tests::{
    Context, Deployment, Kennel, LIMIT, Project, Result, anyhow, ensure, expect_deployment,
    expect_gone, expect_no_change, expect_no_leftovers, shown,
};

const TOML: &str = "[services.api]\nsleep_after = \"1s\"\n";

/// Who comes first when it sleeps.
const CROWD: usize = 50;

pub(crate) fn until_somebody_comes(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("den")?;
    let host = project.address("api", "main");
    let push = |conf: &str, readme: &str| {
        let sources = kennel.sources().service_with("api", conf).kennel_toml(TOML);
        project.push("main", &sources.file("README", readme), conf)
    };
    let conf = "version = den-1\nstart_delay_ms = 100\n";
    let first = expect_deployment(kennel, &project, "api", &push(conf, "one")?.after, "active")?;
    kennel.expect_page(&host, "/version", "den-1", LIMIT)?;
    expect_asleep(kennel, &project, &first)?;

    let began = Instant::now();
    let answers: Vec<_> = thread::scope(|scope| {
        let crowd: Vec<_> =
            (0..CROWD).map(|_| scope.spawn(|| kennel.get(&host, "/version"))).collect();
        crowd.into_iter().map(|it| it.join().map_err(|_| anyhow!("it panicked"))?).collect()
    });
    let crowd = began.elapsed();
    for answer in answers {
        let answer: kennel_tests::Answer = answer?;
        ensure!((answer.status, &*answer.text()) == (200, "den-1\n"), "{}", answer.status);
    }

    // Not much later than it is up when it is started by hand.
    expect_asleep(kennel, &project, &first)?;
    let by_hand = by_hand(kennel, &first)?;
    expect_asleep(kennel, &project, &first)?;
    let began = Instant::now();
    ensure!(kennel.get(&host, "/")?.status == 200, "the first who comes is not answered");
    let woken = began.elapsed();
    let most = by_hand * 2 + Duration::from_secs(1);
    ensure!(woken < most, "it takes {woken:?}, of a crowd {crowd:?}, by hand {by_hand:?}");

    // Nobody comes, but the repository has something new: nothing of it, and then a version.
    expect_asleep(kennel, &project, &first)?;
    push(conf, "two")?;
    expect_no_change(kennel, &project, "api")?;
    ensure!(active_state(kennel, &first.unit())? == "inactive", "a push woke it");
    let second = push("version = den-2\n", "three")?;
    let second = expect_deployment(kennel, &project, "api", &second.after, "active")?;
    kennel.expect_page(&host, "/version", "den-2", LIMIT)?;
    expect_no_leftovers(kennel, project.name())?;

    // After a boot it sleeps, whatever it did before.
    kennel.host().reboot()?;
    kennel.wait_for("its bell", LIMIT, || {
        Ok((active_state(kennel, &second.bell())? == "active").then_some(()))
    })?;
    ensure!(active_state(kennel, &second.unit())? == "inactive", "it was started at boot");
    kennel.expect_page(&host, "/version", "den-2", LIMIT)?;

    expect_asleep(kennel, &project, &second)?;
    expect_no_leftovers(kennel, project.name())?;
    kennel.host().run(&["kennelctl", "teardown", "den/main", "--yes"])?;
    expect_gone(kennel, &project, "refs/heads/main").map(drop)
}

/// Nobody uses it; it is looked at as the timer does, and is stopped. Whoever asks is told.
fn expect_asleep(kennel: &Kennel, project: &Project, it: &Deployment) -> Result<()> {
    kennel.wait_for("service that sleeps", LIMIT, || {
        kennel.host().run(&["systemctl", "start", "kennel-sleep.service"])?;
        Ok((active_state(kennel, &it.unit())? == "inactive").then_some(()))
    })?;
    let line = shown(project, it)?;
    let health = line.get("health").and_then(|it| it.as_str()).context("no health")?;
    ensure!(health == "asleep", "the status says {line}");
    Ok(())
}

/// How long it takes to start it and to be answered.
fn by_hand(kennel: &Kennel, it: &Deployment) -> Result<Duration> {
    let port = it.port.context("it has no port")?;
    let began = Instant::now();
    kennel.host().run(&["systemctl", "start", &it.unit()])?;
    kennel.wait_for("listener", LIMIT, || {
        Ok(kennel.host().netns()?.connect(port).is_ok().then_some(()))
    })?;
    Ok(began.elapsed())
}

fn active_state(kennel: &Kennel, unit: &str) -> Result<String> {
    let show = ["systemctl", "show", "--value", "--property=ActiveState", unit];
    Ok(kennel.host().run(&show)?.trim().to_owned())
}
