//! The file system under `/var/lib/kennel` is full, at different moments of several pushes: what
//! serves goes on serving, nothing is half written, and all goes on by itself once there is space.

use std::path::PathBuf;
use std::process::Command;

use kennel_core::KillPoint::{self, *};
use kennel_tests::{
    Armed, Asked, Context, Event, Holds, Kennel, LIMIT, Project, Pushed, Result, Settings, bail,
    ensure, expect_deployment, expect_no_leftovers,
};
use serde_json::Value;

/// Builds begin with a GiB free; this leaves them some more. Sparse: little of it is ever written.
const SIZE: u64 = 1536 << 20;

/// More rows than the pages of a write-ahead log that was allocated before.
const MOST: usize = 3000;

/// A project whose second push is held when the disk becomes full.
struct Busy<'h> {
    project: Project,
    armed: Armed<'h>,
    second: Pushed,
}

pub(crate) fn under_the_databases(kennel: &Kennel) -> Result<()> {
    let disk = SmallDisk::mount(kennel)?;
    // Two are held in their builds, and hold their slots.
    let _settings = Settings::with(kennel, "max_concurrent_builds = 4\n")?;
    let holds = Holds::listen(kennel)?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    let at = |name: &str, point: KillPoint| -> Result<Busy<'_>> {
        let project = kennel.project(name)?;
        let mut armed = holds.of(name);
        let first = project.push("main", &sources("one"), "one")?;
        expect_deployment(kennel, &project, "api", &first.after, "active")?;
        expect_deployment(kennel, &project, "web", &first.after, "active")?;
        armed.arm(&[point])?;
        let second = project.push("main", &sources("two"), "two")?;
        armed.expect(point, LIMIT)?;
        Ok(Busy { project, armed, second })
    };
    let mut all = [
        ("full-fetched", CommitFetched),
        ("full-built", OutputLinked),
        ("full-healthy", Healthy),
        ("full-routed", Routed),
    ]
    .into_iter()
    .map(|(name, point)| at(name, point))
    .collect::<Result<Vec<_>>>()?;
    let idle = kennel.project("full-idle")?;
    let pushed = idle.commit("main", &sources("late"), "late")?;

    disk.fill()?;
    for busy in &mut all {
        let points: Vec<_> = busy.armed.left().iter().copied().collect();
        points.into_iter().try_for_each(|point| busy.armed.release(point))?;
    }
    let taken = deliver_until_refused(&idle)?;
    // Each job has come to its end, whatever that is.
    kennel.wait_for("end of the jobs", LIMIT, || {
        let units = ["kennel-build@*", "kennel-deploy@*"];
        let list =
            ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating"];
        let left = kennel.host().run(&[&list[..], &units].concat())?;
        if left.trim().is_empty() { Ok(Some(())) } else { bail!("{left}") }
    })?;
    for busy in &all {
        // One of the two, whole: which one depends on how far it had come.
        for (service, path) in [("api", "/version"), ("web", "/")] {
            let host = busy.project.address(service, "main");
            let answer = kennel.get(&host, path)?;
            ensure!(answer.status == 200, "{host} answers {}: {}", answer.status, answer.text());
        }
    }
    let table = kennel.host().run(&["cat", "/var/lib/kennel/routes/routes.json"])?;
    serde_json::from_str::<Value>(&table).context("the route table is half written")?;

    disk.free()?;
    builds_wait_for_room(kennel, &disk)?;
    let asked = Asked::about(kennel, idle.name())?.len();
    ensure!(asked == taken, "{taken} deliveries were taken, and {asked} are there");
    idle.tell(&pushed.event())?;
    kennel.host().run(&["systemctl", "start", "kennel-dispatch.service"])?;
    expect_deployment(kennel, &idle, "api", &pushed.after, "active")?;
    for busy in &all {
        let name = busy.project.name();
        let build = settled(kennel, &busy.project, &busy.second.after)?;
        let (state, reason) = (text(&build, "state"), text(&build, "reason"));
        ensure!(state == "succeeded" || !reason.is_empty(), "without a reason: {build}");
        let rows = expect_no_leftovers(kennel, name)?;
        for service in ["api", "web"] {
            let active = rows.of(name).filter(|it| it.service == service && it.state == "active");
            ensure!(active.count() == 1, "not one {service} of {name} serves");
        }
        let ended = rows.of(name).filter(|it| it.state == "failed");
        for it in ended {
            let reason = it.reason.as_deref().unwrap_or_default();
            ensure!(reason.contains("No space left") || reason.contains("full"), "{it:?}");
        }
        // And whatever became of that push, the next one is served.
        let next = busy.project.push("main", &sources("three"), "three")?;
        expect_deployment(kennel, &busy.project, "api", &next.after, "active")?;
        kennel.expect_page(&busy.project.address("api", "main"), "/version", "three", LIMIT)?;
    }
    for file in ["inbox/inbox.db", "builds/builds.db", "state/state.db"] {
        let path = kennel.host().root().join("var/lib/kennel").join(file);
        let database = kennel_tests::Connection::open(path)?;
        let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        ensure!(said == "ok", "{file}: {said}");
    }
    Ok(())
}

/// With little left, and rows still written: a build stays in the queue, says why, and begins when
/// there is room.
fn builds_wait_for_room(kennel: &Kennel, disk: &SmallDisk<'_>) -> Result<()> {
    let project = kennel.project("full-nearly")?;
    kennel.host().run(&["fallocate", "-l", "600M", "/var/lib/kennel/fill"])?;
    let pushed = project.push("main", &kennel.sources().site("web", "patient"), "patient")?;
    let build = kennel.wait_for("build that waits for room", LIMIT, || {
        let build = project.build(&pushed.after)?.context("no build yet")?;
        if text(&build, "reason").is_empty() { bail!("{build}") } else { Ok(Some(build)) }
    })?;
    let words = "waits until there is room: only ";
    ensure!(text(&build, "reason").starts_with(words), "the build says {build}");
    ensure!(text(&build, "state") == "queued", "the build says {build}");
    disk.free()?;
    // As its timer does, once a minute.
    kennel.host().run(&["systemctl", "start", "kennel-dispatch.service"])?;
    let build = project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    ensure!(text(&build, "reason").is_empty(), "it still says {build}");
    kennel.expect_page(&project.address("web", "main"), "/", "patient", LIMIT).map(drop)
}

/// As long as there is room in what the inbox has already, a delivery is taken. Returns how many.
fn deliver_until_refused(project: &Project) -> Result<usize> {
    for number in 0..MOST {
        let event = Event::BranchDeleted { branch: format!("gone-{number}"), last: "a".repeat(40) };
        for answer in project.deliver(&event)? {
            match answer.status {
                202 => {}
                503 => return Ok(number),
                other => bail!("it is answered with {other}: {}", answer.text()),
            }
        }
    }
    bail!("{MOST} deliveries fit on a full disk")
}

fn settled(kennel: &Kennel, project: &Project, commit: &str) -> Result<Value> {
    kennel.wait_for(&format!("end of the build of {commit}"), LIMIT, || {
        let build = project.build(commit)?.context("no build yet")?;
        match text(&build, "state") {
            "queued" | "building" => bail!("{build}"),
            _ => Ok(Some(build)),
        }
    })
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `/var/lib/kennel` on a small file system of its own, until this is dropped.
struct SmallDisk<'k> {
    kennel: &'k Kennel,
    image: PathBuf,
}

const STOP: &str =
    "systemctl stop kennel.target; systemctl stop 'kennel-*.service' 'kennel-*.socket'";

impl<'k> SmallDisk<'k> {
    /// Seen alike from the host and from outside, where tests read the rows: one device, mounted
    /// in both.
    fn mount(kennel: &'k Kennel) -> Result<Self> {
        let image = kennel.host().root().with_file_name("small-disk.img");
        std::fs::File::create(&image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        let disk = Self { kennel, image };
        let folder = disk.folder();
        kennel.host().sh(STOP)?;
        let beside = folder.with_file_name("kennel.new");
        std::fs::create_dir_all(&beside)?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(&beside))?;
        run(Command::new("cp").arg("-a").arg(folder.join(".")).arg(&beside))?;
        run(Command::new("umount").arg(&beside))?;
        std::fs::remove_dir(&beside)?;
        kennel.host().poweroff()?;
        // Before the boot: systemd-nspawn takes along what is mounted below the tree.
        run(Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(&folder))?;
        kennel.host().boot()?;
        Ok(disk)
    }

    fn folder(&self) -> PathBuf {
        self.kennel.host().root().join("var/lib/kennel")
    }

    /// To the last block.
    fn fill(&self) -> Result<()> {
        self.kennel.host().sh(
            "cd /var/lib/kennel; fallocate -l $(df --output=avail -B1 . | tail -n 1) fill || :
             dd if=/dev/zero of=fill.2 bs=4k status=none 2>/dev/null || :
             test $(df --output=avail -B1 . | tail -n 1) = 0",
        )?;
        Ok(())
    }

    fn free(&self) -> Result<()> {
        self.kennel
            .host()
            .run(&["rm", "-f", "/var/lib/kennel/fill", "/var/lib/kennel/fill.2"])
            .map(drop)
    }
}

impl Drop for SmallDisk<'_> {
    /// Back to what was there before, with what has become of it meanwhile.
    fn drop(&mut self) {
        let back = || -> Result<()> {
            let folder = self.folder();
            self.kennel.host().poweroff()?;
            let beside = folder.with_file_name("kennel.new");
            run(Command::new("cp").arg("-a").arg(&folder).arg(&beside))?;
            run(Command::new("umount").arg(&folder))?;
            std::fs::remove_dir_all(&folder)?;
            std::fs::rename(&beside, &folder)?;
            std::fs::remove_file(&self.image)?;
            self.kennel.host().boot().map(drop)
        };
        // Whoever comes next on this host fails then, and says why.
        let _ = back();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}
