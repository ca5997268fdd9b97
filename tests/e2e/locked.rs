//! Another program holds Kennel's databases for ten seconds, while a push arrives, a build and a
//! deployment end by themselves, and others are stopped: nothing is lost, and each stop counts.

use std::path::Path;
use std::time::{Duration, Instant};

use kennel_core::KillPoint::{self, *};
use kennel_tests::{
    Armed, Connection, Context, Holds, Kennel, Project, Pushed, Result, Rows, Settings, Way,
    ensure, expect_deployment, expect_no_leftovers,
};

const LIMIT: Duration = Duration::from_secs(180);

/// Longer than `TimeoutStopSec=` of any job: what settles a row must not be cut off by it.
const LOCKED: Duration = Duration::from_secs(11);

/// Forgejo and Gitea give up after this.
const FORGES_WAIT: Duration = Duration::from_secs(5);

/// A project whose second push is held in the middle.
struct Busy<'h> {
    project: Project,
    armed: Armed<'h>,
    second: Pushed,
}

impl<'h> Busy<'h> {
    fn at(kennel: &Kennel, holds: &'h Holds, name: &str, point: KillPoint) -> Result<Self> {
        let project = kennel.project(name)?;
        let mut armed = holds.of(name);
        let push = |text: &str| project.push("main", &kennel.sources().service("api", text), text);
        let first = push("one")?;
        expect_deployment(kennel, &project, "api", &first.after, "active")?;
        armed.arm(&[point])?;
        let second = push("two")?;
        Ok(Self { project, armed, second })
    }

    fn page(&self, kennel: &Kennel, text: &str) -> Result<()> {
        let host = self.project.address("api", "main");
        kennel.expect_page(&host, "/version", text, LIMIT).map(drop)
    }
}

pub(crate) fn by_another_writer(kennel: &Kennel) -> Result<()> {
    // Two are held in their builds, and hold their slots.
    let _settings = Settings::with(kennel, "max_concurrent_builds = 4\n")?;
    let holds = Holds::listen(kennel)?;
    let at = |name: &str, point| Busy::at(kennel, &holds, name, point);
    let mut building = at("lock-building", OutputsDone)?;
    let mut serving = at("lock-serving", TableLoaded)?;
    let mut stopped = at("lock-stopped", CommitFetched)?;
    let mut halted = at("lock-halted", Healthy)?;
    let mut held = Vec::new();
    for busy in [&building, &serving, &stopped, &halted] {
        let point = *busy.armed.left().first().context("nothing is armed")?;
        held.push(busy.armed.expect(point, LIMIT)?);
    }
    let [_, _, build, deployment] = &held[..] else { kennel_tests::bail!("{held:?}") };
    let idle = kennel.project("lock-idle")?;

    let locks =
        ["inbox/inbox.db", "builds/builds.db", "state/state.db"].map(|file| lock(kennel, file));
    let locked = Instant::now();
    building.armed.release(OutputsDone)?;
    serving.armed.release(TableLoaded)?;
    stopped.armed.end(build, Way::Terminate)?;
    halted.armed.end(deployment, Way::Terminate)?;
    // Told in time that it is not taken, the sender can send again.
    let pushed = idle.commit("main", &kennel.sources().service("api", "late"), "late")?;
    let event = pushed.event();
    let asked = Instant::now();
    let answers = idle.deliver(&event)?;
    let took = asked.elapsed();
    let refused = answers.iter().all(|answer| answer.status == 503);
    ensure!(refused && took < FORGES_WAIT, "{answers:?} after {took:?}");
    for busy in [&building, &serving, &stopped, &halted] {
        busy.page(kennel, if busy.project.name() == "lock-serving" { "two" } else { "one" })?;
    }
    std::thread::sleep(LOCKED.saturating_sub(locked.elapsed()));
    // It is still at it: whoever settles waits as long as it must.
    for unit in [&build.unit, &deployment.unit] {
        let state = kennel.host().run(&["systemctl", "show", "-P", "SubState", unit])?;
        ensure!(state.trim() == "stop-post", "{unit} is {state}");
    }
    for lock in locks {
        lock?.execute_batch("ROLLBACK")?;
    }

    idle.tell(&event)?;
    expect_deployment(kennel, &idle, "api", &pushed.after, "active")?;
    for busy in [&building, &serving] {
        expect_deployment(kennel, &busy.project, "api", &busy.second.after, "active")?;
        busy.page(kennel, "two")?;
    }
    // Stopped by hand it was, and so it ends: it is not begun again because nobody could write.
    let ended = stopped.project.expect_build(&stopped.second.after, "cancelled", LIMIT)?;
    ensure!(
        ended.get("reason").and_then(|it| it.as_str()).is_some_and(|it| it.contains("stopped")),
        "{ended}"
    );
    let it = expect_deployment(kennel, &halted.project, "api", &halted.second.after, "cancelled")?;
    ensure!(it.reason.as_deref().is_some_and(|it| it.contains("stopped")), "{it:?}");
    for busy in [&building, &serving, &stopped, &halted] {
        expect_no_leftovers(kennel, busy.project.name())?;
    }
    let rows = Rows::read(kennel)?;
    ensure!(rows.builds_of("lock-stopped").count() == 2, "it was built again");
    stopped.page(kennel, "one")?;
    halted.page(kennel, "one")
}

/// Holds a database as any writer does, until it is rolled back or dropped.
fn lock(kennel: &Kennel, file: &str) -> Result<Connection> {
    let path = kennel.host().root().join("var/lib/kennel").join(Path::new(file));
    let connection = Connection::open(&path)?;
    connection.busy_timeout(LIMIT)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}
