//! Killed anywhere: at every named point of a push's life the program that passes it is killed, in
//! two ways, and every program in a third. Every push ends live or with a reason, one version
//! serves, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use kennel_core::KillPoint::{self, *};
use kennel_tests::{
    Armed, Asked, Context, Event, Held, Holds, Kennel, LIMIT, Project, Result, Rows, Settings,
    Sources, Way, anyhow, bail, ensure, expect_gone, expect_no_leftovers, expect_nothing_left,
};
use serde_json::Value;

/// Between two looks at what came of a push.
const LOOK: Duration = Duration::from_millis(100);

/// What a version does, and where programs are killed on its way. Everything listed is reached,
/// or the test fails: a point that nothing passes proves nothing.
struct Push {
    version: Version,
    points: &'static [KillPoint],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// It serves.
    Good,
    /// It exits at once.
    Broken,
}

const fn good(points: &'static [KillPoint]) -> Push {
    Push { version: Version::Good, points }
}

/// One project each, side by side, in both ways: a first push that nobody disturbs, these pushes,
/// and a deletion of the branch with these points. At most one point of a push lies on the way of
/// each deployment, since one that is killed twice has failed.
const LANES: &[(&[Push], &[KillPoint])] = &[
    (
        &[
            good(&[DeliveryVerified, EventRead, PortReserved, SiteLinked, EndBegun]),
            good(&[BuildClaimed]),
            good(&[InboxRowCommitted, BuildQueued, EnvWritten, UnitStopped]),
            good(&[BuildEnded, Routed]),
            good(&[DomainClaimed]),
            good(&[WayGiven]),
        ],
        &[TeardownMarked, StateRemoved],
    ),
    (
        &[
            good(&[BellRung, EventDecided, UnitWritten, FilesRemoved]),
            good(&[CommitFetched]),
            good(&[OutputBegun]),
            good(&[BuildChosen, Retired, RootMade]),
            good(&[BuildTold, TableWritten]),
        ],
        &[TeardownChosen, RootsReleased],
    ),
    (
        &[
            good(&[DeploymentMade, Healthy]),
            good(&[OutputsPlanned]),
            good(&[DeploymentsMade, DeploymentClaimed]),
            good(&[OutputLinked]),
            good(&[TableLoaded, DeploymentSettled]),
            good(&[OutputBuilt]),
            good(&[OldReleased, DatabaseAllocated]),
        ],
        &[SiteUnlinked, TornDown],
    ),
    (
        &[
            good(&[DeploymentChosen, RootTakenOver]),
            good(&[OutputsDone]),
            // Kills no deployment: the next push finds its site unchanged.
            good(&[BuildSettled]),
            good(&[BuildSwept, Activated, FoundUnchanged]),
            good(&[BuildClaimed, BuildUnsettled, LossWritten]),
            good(&[VisitorsHeld]),
        ],
        &[SlicesStopped],
    ),
    (
        &[
            good(&[DrainTimed]),
            good(&[UnitStarted, DeploymentUnsettled, LossWritten]),
            good(&[DatabaseMade]),
            good(&[HoldWritten]),
            Push { version: Version::Broken, points: &[FailureWritten, RoutesWithdrawn, WentOn] },
        ],
        &[TimerStopped, UnitStopped, DatabaseDropped],
    ),
];

/// The same in the third way, for which each program needs one point: what differs is what happens
/// to the processes beside the one that is held.
const WHOLE: (&[Push], &[KillPoint]) = (
    &[
        good(&[DeliveryVerified, EventDecided, Healthy, EndBegun]),
        good(&[OutputBegun]),
        good(&[InboxRowCommitted, OutputLinked]),
    ],
    &[UnitStopped],
);

/// What is killed in the third way, as units are called.
const PROGRAMS: [&str; 6] = [
    "kennel-build@",
    "kennel-deploy@",
    "kennel-dispatch.",
    "kennel-restore.",
    "kennel-teardown@",
    "kennel-webhook.",
];

/// Those of kennel-build before its row has an end: killed there, the build has failed.
const BUILDING: &[KillPoint] = &[
    BuildClaimed,
    CommitFetched,
    OutputsPlanned,
    OutputBegun,
    OutputLinked,
    OutputBuilt,
    OutputsDone,
];

/// Who was killed at which points, in which way.
#[derive(Default)]
struct Seen(Mutex<BTreeSet<(KillPoint, &'static str, String)>>);

impl Seen {
    fn note(&self, held: &Held, way: Way) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert((held.point, word(way), held.unit.clone()));
    }

    /// Every point in two ways, and every program in the third.
    fn expect_all(self) -> Result<()> {
        let seen = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = KillPoint::ALL
            .iter()
            .flat_map(|point| [(*point, word(Way::Kill)), (*point, word(Way::Terminate))])
            .filter(|it| !seen.iter().any(|(point, way, _)| *it == (*point, *way)))
            .collect();
        ensure!(missing.is_empty(), "nobody was killed at {missing:?}");
        let whole = |program: &&str| {
            seen.iter().any(|(_, way, unit)| *way == word(Way::Whole) && unit.starts_with(*program))
        };
        let missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !whole(program)).collect();
        ensure!(missing.is_empty(), "the whole unit was never killed of {missing:?}");
        Ok(())
    }
}

pub(crate) fn anywhere(kennel: &Kennel) -> Result<()> {
    let _quick = QuickRecovery::set(kennel)?;
    // Whoever is held in a build holds its slot; and the third version is one too many to keep.
    kennel.host().run(&["systemctl", "start", "valkey-server.service"])?;
    let _settings = Settings::with(
        kennel,
        "max_concurrent_builds = 4\nkeep_deployments = 1\n\
         [valkey]\nurl = \"redis://127.0.0.1:6379\"\n",
    )?;
    let holds = Holds::listen(kennel)?;
    let seen = Seen::default();
    let all = LANES.iter().flat_map(|lane| [(lane, Way::Kill), (lane, Way::Terminate)]);
    let all: Vec<_> = all.chain([(&WHOLE, Way::Whole)]).collect();
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, ((pushes, deletion), way)) in all.into_iter().enumerate() {
            let (holds, seen) = (&holds, &seen);
            running.push(scope.spawn(move || {
                let name = format!("kill-{number}");
                Lane::begin(kennel, holds, seen, &name, way)
                    .and_then(|mut lane| lane.walk(pushes, deletion))
                    .with_context(|| format!("{name}, {way:?}"))
            }));
        }
        for way in [Way::Kill, Way::Terminate] {
            let (holds, seen) = (&holds, &seen);
            running.push(scope.spawn(move || {
                let name = format!("kill-race-{}", word(way));
                Lane::begin(kennel, holds, seen, &name, way)
                    .and_then(|mut lane| lane.race())
                    .with_context(|| name)
            }));
        }
        for lane in running {
            match lane.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push(format!("{error:#}")),
                Err(_) => failed.push("a lane panicked".to_owned()),
            }
        }
    });
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    let every = &[RestoreWritten, StrangersRemoved, RestorePublished, RestoreStarted];
    let restored =
        [(Way::Kill, &every[..]), (Way::Terminate, every), (Way::Whole, &[RestorePublished])];
    for (way, points) in restored {
        let name = format!("kill-restore-{}", word(way));
        Lane::begin(kennel, &holds, &seen, &name, way)?.restore(points).with_context(|| name)?;
    }
    seen.expect_all()
}

/// Jobs of other units, more than a connection to the bus has room for.
const OTHERS: usize = 200;

/// The dispatcher is held up, and meanwhile more of the host's jobs end than it could be told of.
pub(crate) fn held_up_while_others_work(kennel: &Kennel) -> Result<()> {
    let holds = Holds::listen(kennel)?;
    let project = kennel.project("others")?;
    let mut armed = holds.of(project.name());
    armed.arm(&[EventDecided])?;
    let pushed = project.push(BRANCH, &kennel.sources().service("api", "v1"), "v1")?;
    armed.expect(EventDecided, LIMIT)?;
    let others: Vec<_> = (0..OTHERS).map(|number| format!("other@{number}.service")).collect();
    kennel.host().sh(&format!(
        "printf '[Service]\\nType=oneshot\\nExecStart=/bin/true\\n' >/run/systemd/system/other@.service
         systemctl start {}",
        others.join(" ")
    ))?;
    armed.release(EventDecided)?;
    project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    kennel.expect_page(&project.address("api", BRANCH), "/version", "v1", LIMIT)?;
    Ok(())
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Kill => "kill",
        Way::Terminate => "term",
        Way::Whole => "whole",
    }
}

/// One project, and what was pushed to it.
struct Lane<'k> {
    kennel: &'k Kennel,
    project: Project,
    way: Way,
    armed: Armed<'k>,
    seen: &'k Seen,
    /// The version of each commit.
    versions: BTreeMap<String, String>,
    /// Whether the service wants a preview database, as it does from one push on.
    wants_database: bool,
    /// Whether its versions must not overlap, from one push on.
    is_alone: bool,
}

const BRANCH: &str = "main";
const REF: &str = "refs/heads/main";

impl<'k> Lane<'k> {
    /// A project whose first push is live.
    fn begin(
        kennel: &'k Kennel,
        holds: &'k Holds,
        seen: &'k Seen,
        name: &str,
        way: Way,
    ) -> Result<Self> {
        let project = until_answered(|| kennel.project(name))?;
        let versions = BTreeMap::new();
        let armed = holds.of(name);
        let (wants_database, is_alone) = (false, false);
        let mut lane =
            Self { kennel, armed, project, way, seen, versions, wants_database, is_alone };
        lane.push(&good(&[]))?;
        Ok(lane)
    }

    fn walk(&mut self, pushes: &[Push], deletion: &[KillPoint]) -> Result<()> {
        for push in pushes {
            self.push(push).with_context(|| format!("at {:?}", push.points))?;
        }
        self.delete(deletion).with_context(|| format!("deleted at {deletion:?}"))
    }

    /// Pushes, kills, and looks at what came of it.
    fn push(&mut self, push: &Push) -> Result<()> {
        self.armed.arm(push.points)?;
        let of_database = |point| [DatabaseAllocated, DatabaseMade].contains(point);
        self.wants_database |= push.points.iter().any(of_database);
        let of_recreation = |point| [HoldWritten, VisitorsHeld, WayGiven, WentOn].contains(point);
        self.is_alone |= push.points.iter().any(of_recreation);
        let commit = self.commit(push.version)?;
        self.tell(&Event::Push {
            branch: BRANCH.into(),
            before: commit.0,
            after: commit.1.clone(),
        })?;
        self.expect_end(push, &commit.1)
    }

    fn commit(&mut self, version: Version) -> Result<(String, String)> {
        let number = self.versions.len() + 1;
        let text = format!("{}-{number}", self.project.name());
        let pushed = self.project.commit(BRANCH, &self.sources(version, &text, number), &text)?;
        self.versions.insert(pushed.after.clone(), text);
        Ok((pushed.before, pushed.after))
    }

    fn sources(&self, version: Version, text: &str, number: usize) -> Sources {
        let conf = match version {
            Version::Good => format!("version = {text}\nalone = {}\n", self.is_alone),
            Version::Broken => "exit_at_start = 7\nsay = where is my database?\n".to_owned(),
        };
        // Every other push leaves the site as it is.
        let site = format!("{} {}", self.project.name(), number / 2);
        let database = self.wants_database;
        let strategy = if self.is_alone { "recreate" } else { "blue_green" };
        let toml = format!(
            "[services.api]\nhealth_check = \"/health\"\ndrain_secs = 1\n\
             preview_database = {database}\nstrategy = \"{strategy}\"\n[static_sites.web]\n"
        );
        self.kennel.sources().service_with("api", &conf).site("web", &site).kennel_toml(&toml)
    }

    /// Sends as a forge would whose sender presses "redeliver" until it is taken, and kills whoever
    /// is held meanwhile and after; returns when nothing is left to be killed or taken.
    fn tell(&mut self, event: &Event) -> Result<()> {
        let project = self.project.clone();
        let event = event.clone();
        let sender = thread::spawn(move || deliver(&project, &event));
        let deadline = Instant::now() + LIMIT;
        let mut ended = Vec::new();
        while !self.armed.left().is_empty() || !sender.is_finished() {
            if let Some(held) = self.armed.next(LOOK)? {
                self.armed.end(&held, self.way)?;
                self.seen.note(&held, self.way);
                ended.push(held);
            }
            if Instant::now() > deadline {
                let left = self.armed.left();
                let error = anyhow!("nobody came to {left:?}; ended were {ended:?}");
                return Err(self.kennel.explain(&error));
            }
        }
        sender.join().map_err(|_| anyhow!("the sender panicked"))?
    }

    /// Waits until everything is settled, and judges it.
    fn expect_end(&self, push: &Push, commit: &str) -> Result<()> {
        let name = self.project.name();
        self.wait_for_rows()?;
        let rows = expect_no_leftovers(self.kennel, name)?;
        let build = self.project.build(commit)?.context("the push has no build")?;
        let state = text(&build, "state");
        let reason = |reason: &str| ensure_reason(reason).with_context(|| format!("{build}"));
        let was_built = matches!(state, "succeeded" | "partial");
        if !was_built {
            reason(text(&build, "reason"))?;
        }
        let ended_build = push.points.iter().any(|point| BUILDING.contains(point))
            && !push.points.contains(&LossWritten);
        // In the third way its settlement may be killed with it: then it was lost, and runs again.
        let is_clear = was_built != ended_build || self.way == Way::Whole;
        ensure!(is_clear, "the build is {build}");

        for service in ["api", "web"] {
            let of_push = rows.at(name, service, commit);
            ensure!(of_push.is_some() == was_built, "{service} of {commit} is {of_push:?}");
            if let Some(it) = of_push.filter(|it| it.state != "active") {
                reason(it.reason.as_deref().unwrap_or_default())?;
                let may_end = self.way == Way::Terminate
                    || (push.version == Version::Broken && service == "api");
                ensure!(may_end, "killed once, it does not serve: {it:?}");
            }
            let active: Vec<_> =
                rows.of(name).filter(|it| it.service == service && it.state == "active").collect();
            let [active] = active[..] else { bail!("of {service} there are active {active:?}") };
            if service == "api" {
                let version = self.versions.get(&active.commit).context("whose commit is it?")?;
                let host = self.project.address("api", BRANCH);
                self.kennel.expect_page(&host, "/version", version, LIMIT)?;
            }
        }
        Ok(())
    }

    /// Deletes the branch; nothing at all is left.
    fn delete(&mut self, points: &[KillPoint]) -> Result<()> {
        self.armed.arm(points)?;
        let last = self.project.head(BRANCH)?;
        self.project.forget(BRANCH)?;
        self.tell(&Event::BranchDeleted { branch: BRANCH.into(), last })?;
        self.expect_nothing()
    }

    fn expect_nothing(&self) -> Result<()> {
        self.wait_for_rows()?;
        expect_gone(self.kennel, &self.project, REF)?;
        expect_nothing_left(self.kennel, self.project.name()).map(drop)
    }

    /// Ends that come from outside while something is at work: a newer commit while the older one
    /// builds, one while the older one starts, the branch's deletion while it builds.
    fn race(&mut self) -> Result<()> {
        // The router goes down while a table is written, and comes back by itself.
        self.armed.arm(&[TableWritten])?;
        let first = self.commit(Version::Good)?;
        self.tell_only(&first)?;
        let held = self.armed.expect(TableWritten, LIMIT)?;
        let router = ["systemctl", "kill", "--kill-whom=main"];
        let signal = match self.way {
            Way::Kill | Way::Whole => "--signal=KILL",
            Way::Terminate => "--signal=TERM",
        };
        let killed = [&router[..], &[signal, "kennel-router.service"]].concat();
        let killed = self.kennel.host().try_run(&killed)?;
        // One that is down has just been killed by the other lane.
        let is_down = killed.code == 0 || killed.stderr.contains("No main process to kill");
        ensure!(is_down, "the router is not killed: {killed:?}");
        self.armed.release(held.point)?;
        self.expect_end(&Push { version: Version::Good, points: &[] }, &first.1)
            .context("with the router killed")?;

        // Superseded while it builds.
        self.armed.arm(&[CommitFetched])?;
        let older = self.commit(Version::Good)?;
        self.tell_only(&older)?;
        self.armed.expect(CommitFetched, LIMIT)?;
        let newer = self.commit(Version::Good)?;
        self.armed.arm(&[SupersessionWritten])?;
        self.tell_only(&newer)?;
        self.end_at(SupersessionWritten)?;
        self.armed.release(CommitFetched)?;
        self.expect_end(&good(&[]), &newer.1).context("superseded while it built")?;
        let build = self.project.build(&older.1)?.context("the older push has no build")?;
        ensure!(text(&build, "state") == "superseded", "the older build is {build}");

        // Superseded while it starts, or when it waits to be tried again, which never happens then.
        self.armed.arm(&[UnitStarted])?;
        let older = self.commit(Version::Good)?;
        self.tell_only(&older)?;
        let starting = self.armed.expect(UnitStarted, LIMIT)?;
        let newer = self.commit(Version::Good)?;
        match self.way {
            Way::Terminate => {
                self.armed.arm(&[NewerPreferred])?;
                self.tell_only(&newer)?;
            }
            Way::Kill | Way::Whole => {
                self.armed.arm(&[DeploymentMade, NewerPreferred])?;
                self.tell_only(&newer)?;
                self.armed.expect(DeploymentMade, LIMIT)?;
                self.armed.end(&starting, self.way)?;
                self.kennel.wait_for("older deployment that waits again", LIMIT, || {
                    let rows = Rows::read(self.kennel)?;
                    let it = rows.at(self.project.name(), "api", &older.1).context("no row")?;
                    Ok((it.state == "pending").then_some(()))
                })?;
                self.armed.release(DeploymentMade)?;
            }
        }
        self.end_at(NewerPreferred)?;
        self.armed.release(UnitStarted)?;
        self.expect_end(&good(&[]), &newer.1).context("superseded while it started")?;
        let rows = Rows::read(self.kennel)?;
        let it = rows.at(self.project.name(), "api", &older.1).context("it has no row")?;
        ensure!(it.state == "superseded", "the older one is {it:?}");

        // Deleted while it builds.
        self.armed.arm(&[OutputsPlanned])?;
        let last = self.commit(Version::Good)?;
        self.tell_only(&last)?;
        self.armed.expect(OutputsPlanned, LIMIT)?;
        self.armed.arm(&[CancellationWritten])?;
        self.project.forget(BRANCH)?;
        let event = Event::BranchDeleted { branch: BRANCH.into(), last: last.1 };
        deliver(&self.project, &event)?;
        self.end_at(CancellationWritten)?;
        self.armed.release(OutputsPlanned)?;
        self.expect_nothing().context("deleted while it built")
    }

    fn tell_only(&self, (before, after): &(String, String)) -> Result<()> {
        let event =
            Event::Push { branch: BRANCH.into(), before: before.clone(), after: after.clone() };
        deliver(&self.project, &event)
    }

    fn end_at(&mut self, point: KillPoint) -> Result<()> {
        let held = self.armed.expect(point, LIMIT)?;
        self.armed.end(&held, self.way)?;
        self.seen.note(&held, self.way);
        Ok(())
    }

    /// What serves is damaged, and kennel-restore killed while it repairs it.
    fn restore(&mut self, points: &[KillPoint]) -> Result<()> {
        let name = self.project.name().to_owned();
        for point in points.iter().copied() {
            let rows = Rows::read(self.kennel)?;
            let active = rows.of(&name).find(|it| it.state == "active" && !it.is_site());
            let unit = active.context("nothing serves")?.unit();
            let env = unit.trim_start_matches("kennel-").trim_end_matches(".service");
            self.kennel.host().sh(&format!(
                "systemctl stop {unit}; rm /etc/systemd/system/{unit} /run/kennel/secrets/{env}.env \
                 /var/lib/kennel/sites/{name}/main/web"
            ))?;
            self.armed.arm(&[point])?;
            self.kennel.host().run(&[
                "systemctl",
                "start",
                "--no-block",
                "kennel-restore.service",
            ])?;
            self.end_at(point)?;
            let host = self.project.address("api", BRANCH);
            self.kennel.expect_page(&host, "/version", &name, LIMIT)?;
            expect_no_leftovers(self.kennel, &name).with_context(|| format!("at {point}"))?;
        }
        self.delete(&[])
    }

    /// Waits until nothing is under way, by the rows alone: looking at the host costs more.
    fn wait_for_rows(&self) -> Result<()> {
        let name = self.project.name();
        let deadline = Instant::now() + LIMIT;
        loop {
            let at_work = self.at_work()?;
            if at_work.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.kennel.explain(&anyhow!("{name} is not done: {at_work}")));
            }
            thread::sleep(LOOK);
        }
    }

    fn at_work(&self) -> Result<String> {
        let name = self.project.name();
        if let Some(asked) = Asked::about(self.kennel, name)?.iter().find(|it| it.outcome.is_none())
        {
            return Ok(format!("nobody has taken {asked:?}"));
        }
        let rows = Rows::read(self.kennel)?;
        if let Some(build) = rows.builds_of(name).find(|it| !it.is_settled()) {
            return Ok(format!("{build:?}"));
        }
        if let Some(it) = rows.of(name).find(|it| !it.is_settled()) {
            return Ok(format!("{it:?}"));
        }
        Ok(String::new())
    }
}

/// Tells of an event, and again as the same delivery: whoever was killed may have taken it.
fn deliver(project: &Project, event: &Event) -> Result<()> {
    let asks = project.asks(event)?;
    until_answered(|| project.send(&asks))
}

/// Again and again until it succeeds: a sender whose connection was cut, or who was told to come
/// later, sends once more.
fn until_answered<T>(mut send: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match send() {
            Err(_) if Instant::now() < deadline => thread::sleep(LOOK),
            answered => return answered,
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn ensure_reason(reason: &str) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "there is no reason");
    Ok(())
}

/// The dispatcher looks by itself every two seconds instead of every minute, for as long as this
/// lives.
struct QuickRecovery<'k> {
    kennel: &'k Kennel,
}

const DROP_IN: &str = "etc/systemd/system/kennel-dispatch.timer.d";

impl<'k> QuickRecovery<'k> {
    fn set(kennel: &'k Kennel) -> Result<Self> {
        let text = "[Timer]\nAccuracySec=100ms\nOnUnitInactiveSec=2s\n";
        xtask::base::write(&kennel.host().root().join(DROP_IN).join("quick.conf"), text)?;
        let quick = Self { kennel };
        quick.reload()?;
        Ok(quick)
    }

    fn reload(&self) -> Result<()> {
        let script = "systemctl daemon-reload; systemctl restart kennel-dispatch.timer";
        self.kennel.host().sh(script).map(drop)
    }
}

impl Drop for QuickRecovery<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.kennel.host().root().join(DROP_IN));
        let _ = self.reload();
    }
}
