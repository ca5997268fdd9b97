//! Versions that do not come to serve: the old one keeps serving, the reason says why, and nothing
//! is left behind.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use kennel_tests::{
    Ask, Context, Kennel, LIMIT, Netns, Project, Result, Rows, Sources, anyhow, ensure,
    expect_deployment, expect_failure, expect_no_leftovers, expect_nothing_left,
};

/// A version that cannot serve.
struct Broken {
    name: &'static str,
    conf: &'static str,
    recipe: Option<&'static str>,
    /// What its reason has to say.
    words: &'static [&'static str],
    /// `health_check_timeout_secs`.
    healthy_within: u32,
}

/// What is seen as soon as it happens: who waited for the health check to run out of time would
/// fail after [`LIMIT`].
const AT_ONCE: u32 = 600;

/// What is seen only when that time is over.
const AT_LAST: u32 = 2;

const NEVER_HEALTHY: Broken = Broken {
    name: "unwell",
    conf: "never_healthy = true\nsay = I do not feel well\n",
    recipe: None,
    words: &["not healthy within 2 s", "503", "its last lines:", "I do not feel well"],
    healthy_within: AT_LAST,
};

const EXITS: Broken = Broken {
    name: "hasty",
    conf: "exit_at_start = 7\nsay = where is my database?\n",
    recipe: None,
    words: &["it exited with status 7", "its last lines:", "where is my database?"],
    healthy_within: AT_ONCE,
};

const ELSEWHERE: Broken = Broken {
    name: "elsewhere",
    conf: "listen_port = 17999\n",
    recipe: None,
    words: &["not healthy within 2 s", "nothing listened on", "$PORT", "listens on 127.0.0.1"],
    healthy_within: AT_LAST,
};

const NOTHING: Broken = Broken {
    name: "nothing",
    conf: "",
    recipe: Some(r#"{ ... }: "$bb mkdir -p $out/share""#),
    words: &["/bin holds no program called `api`", "there is no folder `bin`"],
    healthy_within: AT_ONCE,
};

const NOT_EXECUTABLE: Broken = Broken {
    name: "plain",
    conf: "",
    recipe: Some(r#"{ ... }: "$bb mkdir -p $out/bin; echo hello > $out/bin/api""#),
    words: &["/bin holds no program called `api`", "nothing in it is executable"],
    healthy_within: AT_ONCE,
};

const BROKEN_LINK: Broken = Broken {
    name: "dangling",
    conf: "",
    recipe: Some(r#"{ ... }: "$bb mkdir -p $out/bin; $bb ln -s /nix/store/nowhere $out/bin/api""#),
    words: &["/bin holds no program called `api`", "nothing in it is executable"],
    healthy_within: AT_ONCE,
};

const NO_INTERPRETER: Broken = Broken {
    name: "script",
    conf: "",
    recipe: Some(
        r#"{ ... }: "$bb mkdir -p $out/bin; echo '#!/no/interpreter' > $out/bin/api; $bb chmod 755 $out/bin/api""#,
    ),
    words: &["could not be started", "the program could not be executed"],
    healthy_within: AT_ONCE,
};

pub(crate) fn never_healthy(kennel: &Kennel) -> Result<()> {
    the_old_one_keeps_serving(kennel, "unwell", &[NEVER_HEALTHY])
}

pub(crate) fn exits_at_once(kennel: &Kennel) -> Result<()> {
    the_old_one_keeps_serving(kennel, "hasty", &[EXITS])
}

pub(crate) fn without_a_program(kennel: &Kennel) -> Result<()> {
    let all = [NOTHING, NOT_EXECUTABLE, BROKEN_LINK, NO_INTERPRETER];
    the_old_one_keeps_serving(kennel, "empty", &all)
}

/// Every failure again, each as the first that a project pushes: nothing at all is left.
pub(crate) fn on_a_first_push(kennel: &Kennel) -> Result<()> {
    // A port for itself: another test has such a service on the same host at the same time.
    let elsewhere = Broken { conf: "listen_port = 17998\n", ..ELSEWHERE };
    let all =
        [NEVER_HEALTHY, EXITS, elsewhere, NOTHING, NOT_EXECUTABLE, BROKEN_LINK, NO_INTERPRETER];
    let mut pushed = Vec::new();
    for broken in &all {
        let project = kennel.project(&format!("first-{}", broken.name))?;
        let commit = project.push("main", &broken.sources(kennel, ""), broken.name)?.after;
        pushed.push((project, commit));
    }
    for (broken, (project, commit)) in all.iter().zip(&pushed) {
        expect_failure(kennel, project, "api", commit, broken.words)?;
        let rows = expect_nothing_left(kennel, project.name())?;
        let all: Vec<_> = rows.of(project.name()).map(|it| it.state.as_str()).collect();
        ensure!(all == ["failed"], "{} has deployments that are {all:?}", project.name());
        let answer = kennel.get(&project.address("api", "main"), "/")?;
        ensure!(answer.status == 404, "{} answers {}", project.name(), answer.status);
    }
    Ok(())
}

/// All addresses are as good as 127.0.0.1; another port is not.
pub(crate) fn listening_elsewhere(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("everywhere")?;
    let sources = kennel
        .sources()
        .service_with("four", "version = four\nlisten_address = 0.0.0.0\n")
        .service_with("six", "version = six\nlisten_address = ::\n");
    project.push("main", &sources, "Listen everywhere")?;
    for service in ["four", "six"] {
        kennel.expect_page(&project.address(service, "main"), "/version", service, LIMIT)?;
    }
    expect_no_leftovers(kennel, project.name())?;
    the_old_one_keeps_serving(kennel, "elsewhere", &[ELSEWHERE])
}

/// A stranger's program that answers 200 sits on the port before the service listens there.
pub(crate) fn port_taken_by_another_program(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("squatted")?;
    let host = project.address("api", "main");
    let good = |version: &str| kennel.sources().service("api", version);
    let first = project.push("main", &good("good-1"), "It works")?.after;
    let old = expect_deployment(kennel, &project, "api", &first, "active")?;

    let slow = "version = late\nstart_delay_ms = 6000\nsay = still warming up\n";
    let slow = || kennel.sources().service_with("api", slow);
    let taken = project.push("main", &slow(), "It starts slowly")?.after;
    let stranger = Stranger::on_the_port_of(kennel, &project, &taken)?;
    let words = ["belongs to a program of user id 0", "another program", "still warming up"];
    expect_failure(kennel, &project, "api", &taken, &words)?;
    kennel.expect_page(&host, "/version", "good-1", LIMIT)?;
    let rows = expect_no_leftovers(kennel, project.name())?;
    let serving = rows.of(project.name()).find(|it| it.state == "active").map(|it| it.id);
    ensure!(serving == Some(old.id), "{serving:?} serves, not {}", old.id);
    stranger.expect_healthy(kennel)?;

    // With no version before it.
    let fresh = kennel.project("squatted-first")?;
    let taken = fresh.push("main", &slow(), "It starts slowly")?.after;
    let other = Stranger::on_the_port_of(kennel, &fresh, &taken)?;
    expect_failure(kennel, &fresh, "api", &taken, &words)?;
    expect_nothing_left(kennel, fresh.name())?;

    // Whoever comes next, whatever strangers hold, gets a port that is free.
    let next = rows.deployments.last().map_or(0, |it| it.id);
    let range = 18_000 + u16::try_from(next % 2_000)?;
    let netns = kennel.host().netns()?;
    // Those that are in use already are as good as taken.
    let held: Vec<_> = (range..range + 40).filter_map(|port| netns.listen(port).ok()).collect();
    ensure!(held.len() > 20, "only {} ports could be taken", held.len());
    let last = project.push("main", &good("good-2"), "It works again")?.after;
    let last = expect_deployment(kennel, &project, "api", &last, "active")?;
    let ports: Vec<u16> =
        held.iter().map(|it| Ok(it.local_addr()?.port())).collect::<io::Result<_>>()?;
    ensure!(last.port.is_some_and(|port| !ports.contains(&port)), "{last:?} got a taken port");
    kennel.expect_page(&host, "/version", "good-2", LIMIT)?;
    other.expect_healthy(kennel)?;
    for gone in [stranger, other] {
        let port = gone.port;
        drop(gone);
        ensure!(netns.connect(port).is_err(), "somebody still listens on port {port}");
    }
    Ok(())
}

/// First a version that works, then the broken ones, then one that works again.
fn the_old_one_keeps_serving(kennel: &Kennel, name: &str, all: &[Broken]) -> Result<()> {
    let project = kennel.project(name)?;
    let host = project.address("api", "main");
    let good = |version: &str| kennel.sources().service("api", version).site("web", version);
    let first = project.push("main", &good("good-1"), "It works")?.after;
    let old = expect_deployment(kennel, &project, "api", &first, "active")?;
    expect_deployment(kennel, &project, "web", &first, "active")?;
    let process = || kennel.host().run(&["systemctl", "show", "-p", "MainPID", &old.unit()]);
    let before = process()?;

    for broken in all {
        let sources = broken.sources(kennel, "[static_sites.web]\n").site("web", broken.name);
        let pushed = project.push("main", &sources, broken.name)?.after;
        watch(kennel, &project, &pushed, "good-1\n")?;
        let failed = expect_failure(kennel, &project, "api", &pushed, broken.words)?;
        if broken.healthy_within == AT_LAST {
            let took = failed.ended_at.context("it has no end")? - failed.created_at;
            let least = i64::from(AT_LAST) * 1000;
            ensure!(took >= least, "{} failed after {took} ms", broken.name);
        }
        // What was pushed with it serves.
        kennel.expect_page(&project.address("web", "main"), "/", broken.name, LIMIT)?;
        let rows = expect_no_leftovers(kennel, project.name())?;
        let serving = rows.of(name).filter(|it| it.service == "api" && it.state == "active");
        let serving: Vec<_> = serving.map(|it| it.id).collect();
        ensure!(serving == [old.id], "{serving:?} serve, and not {} alone", old.id);
    }
    ensure!(process()? == before, "the old one is another process than before");

    let last = project.push("main", &good("good-2"), "It works again")?.after;
    expect_deployment(kennel, &project, "api", &last, "active")?;
    kennel.expect_page(&host, "/version", "good-2", LIMIT)?;
    expect_no_leftovers(kennel, name)?;
    Ok(())
}

/// Looks at the page until the commit's deployment has failed: it never answers anything else.
fn watch(kennel: &Kennel, project: &Project, commit: &str, page: &str) -> Result<()> {
    kennel.wait_for(&format!("end of {commit}"), LIMIT, || {
        let answer = kennel.get(&project.address("api", "main"), "/version")?;
        if answer.status != 200 || answer.text() != page {
            let text = answer.text();
            return Ok(Some(Err(anyhow!("meanwhile it answers {}: {text}", answer.status))));
        }
        let rows = Rows::read(kennel)?;
        let it = rows.at(project.name(), "api", commit).context("no row yet")?;
        if it.state == "failed" { Ok(Some(Ok(()))) } else { Err(anyhow!("{it:?}")) }
    })?
}

impl Broken {
    fn sources(&self, kennel: &Kennel, others: &str) -> Sources {
        let sources = kennel
            .sources()
            .service_with("api", &format!("version = {}\n{}", self.name, self.conf))
            .kennel_toml(&format!(
                "[services.api]\nhealth_check = \"/health\"\nhealth_check_timeout_secs = {}\n{others}",
                self.healthy_within
            ));
        match self.recipe {
            Some(recipe) => sources.file("services/api/recipe.nix", recipe),
            None => sources,
        }
    }
}

/// A program that is none of Kennel's and answers 200 to everything, until this is dropped.
struct Stranger {
    netns: Netns,
    port: u16,
    leaves: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stranger {
    /// Others have the host next, and would find it on a port of theirs.
    fn drop(&mut self) {
        self.leaves.store(true, Ordering::Relaxed);
        let _wakes_it = self.netns.connect(self.port);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Stranger {
    /// Takes the port that is reserved for a commit's service, which does not listen yet.
    fn on_the_port_of(kennel: &Kennel, project: &Project, commit: &str) -> Result<Self> {
        let port = kennel.wait_for(&format!("port for {commit}"), LIMIT, || {
            let rows = Rows::read(kennel)?;
            let row = rows.at(project.name(), "api", commit).context("no row yet")?;
            Ok(row.port)
        })?;
        let netns = kennel.host().netns()?;
        let listener = netns.listen(port).context("it listens already")?;
        let leaves = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leaves);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n");
            }
        });
        Ok(Self { netns, port, leaves, thread: Some(thread) })
    }

    /// That it was there all the time, and would have been healthy.
    fn expect_healthy(&self, kennel: &Kennel) -> Result<()> {
        let stream = kennel.host().netns()?.connect(self.port)?;
        let answer = xtask::http::send(stream, &Ask::get("127.0.0.1", "/health"), LIMIT)?;
        ensure!(answer.status == 200 && answer.text() == "ok\n", "it answers {answer:?}");
        Ok(())
    }
}
