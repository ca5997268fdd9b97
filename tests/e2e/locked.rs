//! Another program holds Kennel's databases for ten seconds, all of them or each by itself, while a
//! push arrives, a build and a deployment end by themselves, and others are stopped: nothing is
//! lost, each stop counts, and what needs another database does not wait.

use std::path::Path;
use std::time::{Duration, Instant};

use kennel_core::KillPoint::{self, *};
use kennel_tests::{
    Armed, Connection, Context, Holds, Kennel, LIMIT, Project, Pushed, Result, Rows, Settings, Way,
    ensure, expect_deployment, expect_no_leftovers,
};

/// Longer than `TimeoutStopSec=` of any job: what settles a row must not be cut off by it.
const LOCKED: Duration = Duration::from_secs(11);

/// How long each is held when it is by itself.
const TEN_SECONDS: Duration = Duration::from_secs(10);

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
    let answers = idle.deliver(&event)?;
    let took = locked.elapsed();
    let refused = answers.iter().all(|answer| answer.status == 503);
    // In how much time before that is the receiver's own tests'.
    ensure!(refused && took < LOCKED, "{answers:?} after {took:?}");
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

/// A database that only one writer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locked {
    Inbox,
    Builds,
    State,
}

impl Locked {
    fn file(self) -> &'static str {
        match self {
            Self::Inbox => "inbox/inbox.db",
            Self::Builds => "builds/builds.db",
            Self::State => "state/state.db",
        }
    }
}

/// Each database by itself, with a build and a deployment that come to their end meanwhile, and a
/// push that arrives: what does not need it goes on, and the rest is only later.
pub(crate) fn each_by_itself(kennel: &Kennel) -> Result<()> {
    // Whoever is held in a build holds its slot.
    let _settings = Settings::with(kennel, "max_concurrent_builds = 4\n")?;
    let holds = Holds::listen(kennel)?;
    let mut projects = Projects {
        kennel,
        building: kennel.project("each-building")?,
        deploying: kennel.project("each-deploying")?,
        arriving: kennel.project("each-arriving")?,
        holds: &holds,
    };
    for project in projects.all() {
        let pushed = projects.push(project, "first")?;
        expect_deployment(kennel, project, "api", &pushed.after, "active")?;
    }
    for locked in [Locked::Inbox, Locked::Builds, Locked::State] {
        projects.while_locked(locked).with_context(|| format!("{locked:?}"))?;
    }
    for project in projects.all() {
        let rows = expect_no_leftovers(kennel, project.name())?;
        // The first, and one for each lock: nothing was built twice, and nothing forgotten.
        let builds = rows.builds_of(project.name()).count();
        ensure!(builds == 4, "{} was built {builds} times", project.name());
    }
    Ok(())
}

struct Projects<'k> {
    kennel: &'k Kennel,
    holds: &'k Holds,
    /// Its build is about to end.
    building: Project,
    /// Its deployment is about to serve.
    deploying: Project,
    /// Its push comes in the middle.
    arriving: Project,
}

impl Projects<'_> {
    fn all(&self) -> [&Project; 3] {
        [&self.building, &self.deploying, &self.arriving]
    }

    fn push(&self, project: &Project, text: &str) -> Result<Pushed> {
        project.push("main", &self.kennel.sources().service("api", text), text)
    }

    fn while_locked(&mut self, locked: Locked) -> Result<()> {
        let kennel = self.kennel;
        let text = format!("{locked:?}");
        let (mut building, mut deploying) =
            (self.holds.of(self.building.name()), self.holds.of(self.deploying.name()));
        building.arm(&[OutputsDone])?;
        deploying.arm(&[TableLoaded])?;
        let built = self.push(&self.building, &text)?.after;
        let deployed = self.push(&self.deploying, &text)?.after;
        building.expect(OutputsDone, LIMIT)?;
        deploying.expect(TableLoaded, LIMIT)?;
        let sources = kennel.sources().service("api", &text);
        let arriving = self.arriving.commit("main", &sources, &text)?;
        let event = arriving.event();

        let lock = lock(kennel, locked.file())?;
        let begun = Instant::now();
        building.release(OutputsDone)?;
        deploying.release(TableLoaded)?;
        let answers = self.arriving.deliver(&event)?;
        let wanted = if locked == Locked::Inbox { 503 } else { 202 };
        ensure!(answers.iter().all(|it| it.status == wanted), "a push is answered {answers:?}");
        // The state is all that a deployment writes, and the builds all that a build does.
        if locked != Locked::State {
            expect_deployment(kennel, &self.deploying, "api", &deployed, "active")?;
        }
        if locked != Locked::Builds {
            self.building.expect_build(&built, "succeeded", LIMIT)?;
        }
        if locked == Locked::Inbox {
            expect_deployment(kennel, &self.building, "api", &built, "active")?;
        }
        std::thread::sleep(TEN_SECONDS.saturating_sub(begun.elapsed()));
        // What needs it has waited.
        let rows = Rows::read(kennel)?;
        let state = |project: &Project, commit: &str| {
            rows.at(project.name(), "api", commit).map(|it| it.state.clone())
        };
        if locked == Locked::State {
            let state = state(&self.deploying, &deployed);
            ensure!(state.as_deref() == Some("starting"), "the deployment is {state:?}");
        }
        if locked != Locked::Inbox {
            let state = state(&self.building, &built);
            ensure!(state.is_none(), "what was built is deployed, and {state:?}");
        }
        lock.execute_batch("ROLLBACK")?;

        if locked == Locked::Inbox {
            self.arriving.tell(&event)?;
        }
        let all = [
            (&self.building, &built),
            (&self.deploying, &deployed),
            (&self.arriving, &arriving.after),
        ];
        for (project, commit) in all {
            expect_deployment(kennel, project, "api", commit, "active")?;
            kennel.expect_page(&project.address("api", "main"), "/version", &text, LIMIT)?;
        }
        Ok(())
    }
}

/// Holds a database as any writer does, until it is rolled back or dropped.
fn lock(kennel: &Kennel, file: &str) -> Result<Connection> {
    let path = kennel.host().root().join("var/lib/kennel").join(Path::new(file));
    let connection = Connection::open(&path)?;
    connection.busy_timeout(LIMIT)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}
