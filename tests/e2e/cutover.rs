//! A new version takes over while visitors are busy: none of them notices.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kennel_tests::{
    Answer, Ask, Context, Deployment, Kennel, LIMIT, Load, Project, Result, Rows, Sources, anyhow,
    ensure, expect_deployment, expect_no_leftovers,
};

/// Visitors at once: a sixth of them each kept and new connections, HTTP/2, bodies of known and of
/// unknown length, answers that take a second.
const VISITORS: usize = 48;

/// How many retired deployments keep their GC root, by default.
const KEPT: usize = 5;

pub(crate) fn twenty_with_a_drain_of_3_s(kennel: &Kennel) -> Result<()> {
    const CUTOVERS: usize = 20;
    let project = kennel.project("cutover")?;
    let mut walk = Walk::begin(kennel, &project, "")?;
    for n in 1..=CUTOVERS {
        // First in good order, then as fast as builds are.
        if n <= CUTOVERS / 2 {
            kennel.wait_for("at most one that drains", LIMIT, || {
                Ok((draining(&Rows::read(kennel)?, &project) <= 1).then_some(()))
            })?;
        }
        walk.push(&format!("v{n}"), "")?;
    }
    // Longer than the drain: it may be finished after the service was asked to leave.
    walk.push_while_answering("last", Duration::from_secs(9))?.expect_whole()?;
    let ended = walk.end(CUTOVERS + 1, Duration::from_secs(3))?;
    let kept = ended.iter().filter(|it| it.state == "retired").count();
    ensure!(kept == KEPT, "{kept} retired deployments are kept, not {KEPT}: {ended:?}");
    Ok(())
}

pub(crate) fn once_with_a_drain_of_30_s(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("patient")?;
    let mut walk = Walk::begin(kennel, &project, "drain_secs = 30\n")?;
    let old = walk.active.clone();
    let asking = walk.push_while_answering("v1", Duration::from_secs(12))?;

    // A third version comes while the first one drains: now two do, untouched.
    walk.push("v2", "")?;
    let rows = Rows::read(kennel)?;
    ensure!(draining(&rows, &project) == 2, "not two of them drain: {:?}", rows.deployments);
    let unit = old.unit();
    let state = kennel.host().try_run(&["systemctl", "is-active", &unit])?.stdout;
    ensure!(state.trim() == "active", "{unit} is {state} before the end of its drain");
    let port = old.port.context("it has no port")?;
    let ask = Ask::get("127.0.0.1", "/version");
    let answer = xtask::http::send(kennel.host().netns()?.connect(port)?, &ask, LIMIT)?;
    ensure!(answer.text() == "v0\n", "the old one answers {}", answer.text());
    asking.expect_whole()?;

    let ended = walk.end(2, Duration::from_secs(30))?;
    let retired = ended.iter().all(|it| it.state == "retired");
    ensure!(retired, "what has drained is not retired: {ended:?}");
    Ok(())
}

/// Every answer is of one version, also one that takes longer than the old version lives; and who
/// has seen a new version never sees an older one again.
pub(crate) fn site_under_visitors(kennel: &Kennel) -> Result<()> {
    const VERSIONS: usize = 4;
    // More than sockets hold, so that it is still being read after the cutover.
    const LINES: usize = 1_500_000;
    let project = kennel.project("pages")?;
    let host = project.address("web", "main");
    let push = |version: usize| -> Result<Deployment> {
        let line = format!("version {version}\n");
        let sources = kennel
            .sources()
            .site("web", line.trim())
            .file("sites/web/assets/version.js", &line)
            .file("sites/web/all.txt", line.repeat(LINES));
        let pushed = project.push("main", &sources, &line)?;
        expect_deployment(kennel, &project, "web", &pushed.after, "active")
    };
    let first = push(1)?;
    let slow = SlowReader::begin(kennel, &host, "/all.txt")?;

    let stop = AtomicBool::new(false);
    let visits = thread::scope(|scope| -> Result<Vec<Vec<usize>>> {
        let visitors: Vec<_> =
            (0..4).map(|_| scope.spawn(|| visit(kennel, &host, &stop))).collect();
        let pushes = (2..=VERSIONS).try_for_each(|version| push(version).map(drop));
        stop.store(true, Ordering::Relaxed);
        let visits = visitors.into_iter().map(thread::ScopedJoinHandle::join);
        let visits = visits.map(|it| it.map_err(|_| anyhow!("a visitor panicked"))?).collect();
        pushes.and(visits)
    })?;
    for seen in visits {
        ensure!(seen.is_sorted(), "a visitor went back to an older version: {seen:?}");
        ensure!(seen.first() == Some(&1), "a visitor came too late: {seen:?}");
        ensure!(seen.last() == Some(&VERSIONS), "a visitor never saw the last version: {seen:?}");
    }

    let rows = expect_no_leftovers(kennel, project.name())?;
    let old = rows.of(project.name()).find(|it| it.id == first.id).context("no first row")?;
    ensure!(old.state == "retired", "the first version is {} by now", old.state);
    let answer = slow.finish()?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(body == "version 1\n".repeat(LINES), "{} bytes, not all of version 1", body.len());
    Ok(())
}

/// Somebody with a bad line: takes a little at a time, until told to take the rest.
struct SlowReader {
    hurry: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<String>>,
}

impl SlowReader {
    fn begin(kennel: &Kennel, host: &str, path: &str) -> Result<Self> {
        let mut stream = kennel.host().netns()?.connect(80)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = vec![0; 10_000];
        stream.read_exact(&mut answer)?;
        let hurry = Arc::new(AtomicBool::new(false));
        let hurried = Arc::clone(&hurry);
        let thread = thread::spawn(move || {
            while !hurried.load(Ordering::Relaxed) {
                let mut piece = [0; 10_000];
                let read = stream.read(&mut piece)?;
                answer.extend(piece.iter().take(read));
                // How fast its line is.
                thread::sleep(Duration::from_millis(100));
            }
            stream.read_to_end(&mut answer)?;
            Ok(String::from_utf8(answer)?)
        });
        Ok(Self { hurry, thread })
    }

    fn finish(self) -> Result<String> {
        ensure!(!self.thread.is_finished(), "it has ended already");
        self.hurry.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the slow reader panicked"))?
    }
}

/// Loads the page, and then what it needs, again and again; returns the versions in the order in
/// which they were seen.
fn visit(kennel: &Kennel, host: &str, stop: &AtomicBool) -> Result<Vec<usize>> {
    let mut seen = Vec::new();
    loop {
        // One more round after the last version has come.
        let last = stop.load(Ordering::Relaxed);
        for path in ["/", "/assets/version.js"] {
            let answer = kennel.get(host, path)?;
            let text = answer.text();
            ensure!(answer.status == 200, "{path} answers {}: {text}", answer.status);
            let (_, version) = text.split_once("version ").with_context(|| text.clone())?;
            let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            seen.push(digits.parse()?);
        }
        if last {
            return Ok(seen);
        }
        // As long as the next one takes to click.
        thread::sleep(Duration::from_millis(20));
    }
}

/// A project that goes from version to version under load.
struct Walk<'a> {
    kennel: &'a Kennel,
    project: &'a Project,
    settings: &'static str,
    load: Load,
    versions: Vec<String>,
    /// What serves now.
    active: Deployment,
}

impl<'a> Walk<'a> {
    /// Deploys `v0`, and lets visitors come.
    fn begin(kennel: &'a Kennel, project: &'a Project, settings: &'static str) -> Result<Self> {
        let sources = sources(kennel, "v0", settings, "");
        let pushed = project.push("main", &sources, "Release v0")?;
        let active = expect_deployment(kennel, project, "api", &pushed.after, "active")?;
        let load = kennel.load(&project.address("api", "main"), VISITORS)?;
        let versions = vec!["v0".to_owned()];
        let walk = Self { kennel, project, settings, load, versions, active };
        kennel.wait_for("visitors of every kind", LIMIT, || {
            let report = walk.load.report();
            Ok((report.kinds.len() == 6 && report.requests > 500).then_some(()))
        })?;
        Ok(walk)
    }

    /// Pushes a version, and returns when it serves.
    fn push(&mut self, version: &str, conf: &str) -> Result<()> {
        let sources = sources(self.kennel, version, self.settings, conf);
        let pushed = self.project.push("main", &sources, &format!("Release {version}"))?;
        self.takes_over(version, &pushed.after)
    }

    /// Pushes a version, and asks the old one for something that it has not yet answered when the
    /// new one serves.
    fn push_while_answering(&mut self, version: &str, answer_takes: Duration) -> Result<Asking> {
        // Long enough that the question is surely asked before it serves.
        let conf = "start_delay_ms = 1500\n";
        let sources = sources(self.kennel, version, self.settings, conf);
        let pushed = self.project.push("main", &sources, &format!("Release {version}"))?;
        expect_deployment(self.kennel, self.project, "api", &pushed.after, "starting")?;
        let old = self.versions.last().context("nothing serves")?.clone();
        let host = self.project.address("api", "main");
        let path = format!("/slow?ms={}", answer_takes.as_millis());
        let kennel = self.kennel.clone();
        let thread = thread::spawn(move || kennel.get(&host, &path));
        self.takes_over(version, &pushed.after)?;
        ensure!(!thread.is_finished(), "the answer came before the cutover; nothing was shown");
        Ok(Asking { of: old, thread })
    }

    /// Waits until the commit serves, looking all the time that exactly one does.
    fn takes_over(&mut self, version: &str, commit: &str) -> Result<()> {
        let name = self.project.name();
        self.active = self.kennel.wait_for(&format!("{version} of {name}"), LIMIT, || {
            let rows = Rows::read(self.kennel)?;
            let active: Vec<_> = rows.of(name).filter(|it| it.state == "active").collect();
            let [one] = active.as_slice() else {
                return Ok(Some(Err(anyhow!("{} are active at once: {active:?}", active.len()))));
            };
            if one.commit == commit {
                return Ok(Some(Ok((*one).clone())));
            }
            let pushed = rows.at(name, "api", commit);
            // It does not come to serve by itself any more; the reason comes first, to be seen whole.
            if let Some(ended) = pushed.filter(|it| it.is_settled()) {
                return Ok(Some(Err(anyhow!("it is {}: {:?}", ended.state, ended.reason))));
            }
            Err(anyhow!("{pushed:?}"))
        })??;
        // Its row says that the router has it, so that the very next visitor meets it.
        let answer = self.kennel.get(&self.project.address("api", "main"), "/version")?;
        ensure!(
            answer.text() == format!("{version}\n"),
            "after the cutover {} answers",
            answer.text()
        );
        self.versions.push(version.to_owned());
        Ok(())
    }

    /// Keeps the visitors until the last drain is over, and looks at everything. Returns what the
    /// last version has replaced, oldest first.
    fn end(self, cutovers: usize, drain: Duration) -> Result<Vec<Deployment>> {
        let rows = expect_no_leftovers(self.kennel, self.project.name())?;
        let report = self.load.stop()?;
        report.expect_clean()?;
        for version in &self.versions {
            ensure!(report.versions.contains_key(version), "nobody saw {version}: {report:?}");
        }
        ensure!(report.kinds.len() == 6, "not every kind of visitor was served: {report:?}");

        let all: Vec<_> = rows.of(self.project.name()).cloned().collect();
        let (active, ended): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|it| it.state == "active");
        let active: Vec<_> = active.iter().map(|it| it.id).collect();
        ensure!(active == [self.active.id], "{active:?} are active");
        ensure!(ended.len() == cutovers, "{} of {cutovers} have ended: {ended:?}", ended.len());
        for pair in all.windows(2) {
            let [old, new] = pair else { continue };
            let times = || Some((old.drain_until?, old.ended_at?, new.active_at?));
            let (drained, ended, replaced) = times().with_context(|| format!("{old:?}"))?;
            let drains = i64::try_from(drain.as_millis())?;
            ensure!(drained - replaced == drains, "it drains for {} ms", drained - replaced);
            ensure!(ended >= drained, "it ended {} ms early: {old:?}", drained - ended);
        }
        Ok(ended)
    }
}

/// A visitor that waits for the answer of a version.
struct Asking {
    of: String,
    thread: thread::JoinHandle<Result<Answer>>,
}

impl Asking {
    fn expect_whole(self) -> Result<()> {
        let answer = self.thread.join().map_err(|_| anyhow!("asking panicked"))??;
        let (by, of) = (answer.header("sample-version"), self.of);
        ensure!(by == Some(&of), "{by:?} answered what {of} had begun");
        ensure!(answer.text() == "begun, done\n", "the answer was cut off: {}", answer.text());
        Ok(())
    }
}

fn draining(rows: &Rows, project: &Project) -> usize {
    rows.of(project.name()).filter(|it| it.state == "draining").count()
}

fn sources(kennel: &Kennel, version: &str, settings: &str, conf: &str) -> Sources {
    kennel
        .sources()
        .service_with("api", &format!("version = {version}\n{conf}"))
        .kennel_toml(&format!("[services.api]\nhealth_check = \"/health\"\n{settings}"))
}
