//! What limits do to services and builds, on a host whose kernel lets them act.
//!
//! Everything is slow there where the machine has no KVM, so limits of time are generous and
//! several pushes share a test.

use std::ops::Range;
use std::time::Duration;

use kennel_tests::{
    Context, Forge, HeadRepository, Kennel, Project, PullRequest, PullRequestAction, Result,
    Sources, anyhow, bail, builders, ensure, say_figures,
};
use serde_json::Value;

/// Builds and deployments under emulation.
const LIMIT: Duration = Duration::from_secs(600);

/// How many processes and threads `many` may have.
const TASKS: u64 = 24;

/// Of one processor, what `busy` may have.
const QUOTA: f64 = 0.3;

const SERVICES: &str = r#"
[services.hungry]
health_check = "/health"
resources = { memory_max = "48M" }

[services.many]
health_check = "/health"
resources = { tasks_max = 24 }

[services.busy]
health_check = "/health"
resources = { cpu_quota = "30%" }
"#;

/// A service gets what its `resources` say and no more, and Kennel says so where it ends one.
pub(crate) fn of_services(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("limited")?;
    let sources = |hungry: &str| {
        kennel
            .sources()
            .service_with("hungry", hungry)
            .service("many", "v1")
            .service("busy", "v1")
            .kennel_toml(SERVICES)
    };
    let first = project.push("main", &sources("version = v1\n"), "Three services")?.after;
    let [hungry, many, busy] =
        ["hungry", "many", "busy"].map(|service| project.address(service, "main"));
    for host in [&hungry, &many, &busy] {
        kennel.expect_page(host, "/version", "v1", LIMIT)?;
    }

    let started: u64 = kennel.get(&many, "/threads?n=100")?.text().trim().parse()?;
    ensure!((TASKS / 2..TASKS).contains(&started), "{started} threads within tasks_max = {TASKS}");

    let answer = kennel.get(&busy, "/spin?n=2")?;
    ensure!(answer.text() == "2\n", "two threads do not spin: {}", answer.text());
    let used = processors_used(kennel, &unit_of(kennel, &project, "busy", &first)?)?;
    ensure!(
        (QUOTA / 3.0..QUOTA * 1.2).contains(&used),
        "{used:.2} processors within cpu_quota = {QUOTA}"
    );

    // While it starts, in a new version: the old one keeps serving.
    let greedy = project.push("main", &sources("version = v2\neat_mib = 100\n"), "Eat")?.after;
    let failed = deployment(kennel, &project, "hungry", &greedy, "failed")?;
    let reason = failed.get("reason").and_then(Value::as_str).unwrap_or_default();
    for word in ["out of memory", "48M", "memory_max"] {
        ensure!(reason.contains(word), "the reason does not say {word:?}: {reason}");
    }
    kennel.expect_page(&hungry, "/version", "v1", LIMIT)?;

    // While it serves: it is started again.
    let unit = unit_of(kennel, &project, "hungry", &first)?;
    if let Ok(answer) = kennel.get(&hungry, "/eat?mib=100") {
        ensure!(answer.status >= 500, "it has eaten 100M: {answer:?}");
    }
    kennel.wait_for("oom-kill in the journal", LIMIT, || {
        let journal = kennel.host().run(&["journalctl", "-b", "--no-pager", "-u", &unit])?;
        Ok(journal.contains("Failed with result 'oom-kill'").then_some(()))
    })?;
    kennel.expect_page(&hungry, "/version", "v1", LIMIT)?;
    Ok(())
}

/// What the builder that waits sleeps, or would.
const PATIENCE: u32 = 4712;

/// A builder that eats, an evaluation that eats and a builder that forks, beside a builder that
/// waits: each that goes too far fails alone, and its reason says why.
pub(crate) fn of_builds(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let most: u64 = show(kennel, "nix-daemon.service", "MemoryMax")?.parse().context("no limit")?;
    ensure!(most > 0, "builds have no memory at all");
    // Smaller than shipped, so that it does not take long; as docs/limits.md says it is done.
    let smaller = ["MemoryMax=200M", "TasksMax=150"];
    let set = ["systemctl", "set-property", "--runtime", "nix-daemon.service"];
    host.run(&[&set[..], &smaller[..]].concat())?;
    let drop_in = "run/systemd/system/kennel-build@.service.d/smaller.conf";
    host.write(drop_in, "[Service]\nMemoryMax=150M\n")?;
    host.run(&["systemctl", "daemon-reload"])?;
    let before = show(kennel, "nix-daemon.service", "MainPID")?;

    let recipe = |name: &str, script: &str| {
        let recipe = format!("{{ ... }}: ''\n{script}\n''\n");
        let sources = kennel.sources().service(name, "v1");
        sources.file(&format!("services/{name}/recipe.nix"), recipe)
    };
    let patient = recipe("api", &format!("$bb sleep {PATIENCE} || :; $bb mkdir $out"));
    // Written by the program itself: what the kernel writes for it, as in a read, fails and kills
    // nobody.
    let eater = recipe("api", "$bb awk 'BEGIN { x = \"0123456789abcdef\"; while (1) x = x x }'");
    let forker = recipe("api", "while :; do $bb sleep 4711 & done");
    let evaluation = kennel.sources().service("api", "v1").file(
        "services/api/recipe.nix",
        "{ ... }: toString (builtins.length (builtins.genList (n: n) 100000000))",
    );

    let patient = pushed(kennel, "patient", &patient)?;
    let waits = || Ok(Some(builders(kennel, PATIENCE)?).filter(|it| !it.is_empty()));
    kennel.wait_for("builder that waits", LIMIT, waits)?;

    let eater = pushed(kennel, "eater", &eater)?;
    expect_reason(&eater, &["out of memory", "nix-daemon.service", "oom-kill", "MemoryMax="])?;

    let evaluation = pushed(kennel, "evaluation", &evaluation)?;
    expect_reason(&evaluation, &["out of memory", "kennel-build@.service", "oom-kill"])?;

    let forker = pushed(kennel, "forker", &forker)?;
    expect_reason(&forker, &["can't fork"])?;
    let left = host.try_run(&["pgrep", "-a", "-f", "[s]leep 4711"])?.stdout;
    ensure!(left.is_empty(), "the forking build has left {left}");

    waits()?.context("the builder that waits has ended with another")?;
    host.run(&["pkill", "-f", &format!("[b]usybox sleep {PATIENCE}$")])?;
    patient.0.expect_build(&patient.1, "succeeded", LIMIT)?;

    let after = show(kennel, "nix-daemon.service", "MainPID")?;
    ensure!(before == after, "nix-daemon was process {before} and is now {after}");
    host.run(&["rm", &format!("/{drop_in}")])?;
    host.run(&["systemctl", "revert", "nix-daemon.service"])?;
    let now = show(kennel, "nix-daemon.service", "MemoryMax")?;
    ensure!(now == most.to_string(), "MemoryMax is {now} again, not {most}");
    Ok(())
}

/// Requests of one window, and the milliseconds between two, in which builders get to work again.
const REQUESTS: usize = 200;
const APART: &str = "10";

/// Pairs of windows, of which the middle one counts: an emulated machine is itself held up now and
/// then.
const PAIRS: usize = 5;

/// All builds.
const BUILDS: &str = "builds.slice";

/// Of two processors, what builds have beside a service that takes whatever it can get: a sixth by
/// their weight, more or less.
const SHARE: Range<f64> = 0.15..0.7;

/// How much slower than on an idle machine a page may be.
const MOST: f64 = 2.0;

/// While two builds take whatever they can get, visitors do not notice; and while a service does,
/// builds go on.
pub(crate) fn builds_leave_room_for_visitors(kennel: &Kennel) -> Result<()> {
    let visited = kennel.project("visited")?;
    let sources = kennel.sources().site("web", "Come in.").service("api", "v1");
    let commit = visited.push("main", &sources, "A site and a service")?.after;
    let [web, api] = ["web", "api"].map(|service| visited.address(service, "main"));
    kennel.expect_page(&web, "/", "Come in.", LIMIT)?;
    kennel.expect_page(&api, "/version", "v1", LIMIT)?;
    let build = visited.build(&commit)?.context("no build")?;
    let outputs = build.get("outputs").and_then(Value::as_array).context("no outputs")?;
    let built = outputs.iter().find(|output| output.get("name").is_some_and(|it| it == "api"));
    let store_path = built.and_then(|it| it.get("store_path")?.as_str()).context("no path")?;
    let visitor = format!("{store_path}/bin/api");

    let spin = "{ ... }: \"(while :; do :; done) & while :; do :; done\"";
    let spinning = kennel.sources().service("api", "v1");
    let builds = [("spin-one", ""), ("spin-two", " + \"\\n\"")].map(|(name, more)| {
        // Two derivations: Nix builds the same one once.
        let recipe = format!("{spin}{more}");
        pushed(kennel, name, &spinning.clone().file("services/api/recipe.nix", recipe))
    });
    let builds = builds.into_iter().collect::<Result<Vec<_>>>()?;
    kennel.wait_for("two builders that spin", LIMIT, || {
        let spinning = kennel.host().try_run(&["pgrep", "-c", "-f", "[w]hile :; do :; done"])?;
        let spinning = spinning.stdout.trim().to_owned();
        if spinning.parse::<u32>().is_ok_and(|it| it >= 4) { Ok(Some(())) } else { bail!(spinning) }
    })?;
    let alone = processors_used(kennel, BUILDS)?;

    for (host, name) in [(&web, "the site"), (&api, "the service")] {
        let window = || p99(kennel, &visitor, host);
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            kennel.host().run(&["systemctl", "freeze", "nix-daemon.service"])?;
            let idle = window();
            kennel.host().run(&["systemctl", "thaw", "nix-daemon.service"])?;
            pairs.push((idle?, window()?));
        }
        say_figures(&format!("p99 of {name}, idle and beside two builds: {pairs:.1?}"));
        let mut slower: Vec<f64> =
            pairs.iter().map(|(idle, busy)| busy.as_secs_f64() / idle.as_secs_f64()).collect();
        slower.sort_by(f64::total_cmp);
        let slower = slower.get(PAIRS / 2).context("no pairs")?;
        ensure!(*slower <= MOST, "p99 of {name}, idle and beside two builds: {pairs:.1?}");
    }

    kennel.get(&api, "/spin?n=2")?;
    let beside = processors_used(kennel, BUILDS)?;
    // It starts anew, and spins no more.
    let _ = kennel.get(&api, "/crash");
    say_figures(&format!("processors of builds: alone {alone:.2}, beside a service {beside:.2}"));
    ensure!(alone > 1.5, "two builds used {alone:.2} processors: nothing was saturated");
    ensure!(SHARE.contains(&beside), "beside a service that spins, builds used {beside:.2}");
    for (project, commit) in &builds {
        let build = project.build(commit)?.context("no build")?;
        let id = build.get("id").context("no id")?.to_string();
        kennel.host().run(&["kennelctl", "cancel", &id])?;
        project.expect_build(commit, "cancelled", LIMIT)?;
    }
    Ok(())
}

/// All of a project within one limit of memory, and production before a preview where both want the
/// whole machine.
pub(crate) fn of_slices(kennel: &Kennel) -> Result<()> {
    let settings = "[limits]\nmemory_max = \"160M\"\n";
    let project = kennel.project_on(Forge::Forgejo, "rooms", settings)?;
    for branch in ["main", "more"] {
        project.push(branch, &kennel.sources().service("api", branch), branch)?;
        kennel.expect_page(&project.address("api", branch), "/version", branch, LIMIT)?;
    }
    let [main, more] = ["main", "more"].map(|branch| project.address("api", branch));
    for host in [&main, &more] {
        let answer = kennel.get(host, "/spin?n=2")?;
        ensure!(answer.text() == "2\n", "two threads do not spin: {}", answer.text());
    }
    let slices = ["kennel-rooms-main.slice", "kennel-rooms-more.slice"];
    let [production, preview] = processors_used_by(kennel, slices)?;
    say_figures(&format!("processors of production {production:.2}, of a preview {preview:.2}"));
    ensure!(production + preview > 1.2, "nothing was saturated");
    ensure!(
        production > preview * PRODUCTION,
        "production had {production:.2} processors, a preview {preview:.2}"
    );
    for host in [&main, &more] {
        // It starts anew, and spins no more.
        let _ = kennel.get(host, "/crash");
        kennel.expect_page(host, "/health", "", LIMIT)?;
    }

    // Each within what a service has, and both beyond what the project has.
    kennel.get(&main, "/eat?mib=100")?;
    let _ = kennel.get(&more, "/eat?mib=100");
    kennel.wait_for("oom-kill in the project", LIMIT, || {
        let events = "/sys/fs/cgroup/kennel.slice/kennel-rooms.slice/memory.events";
        let events = kennel.host().run(&["cat", events])?;
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok((kills.context("no such count")?.parse::<u32>()? > 0).then_some(()))
    })?;
    for (host, version) in [(&main, "main"), (&more, "more")] {
        kennel.expect_page(host, "/version", version, LIMIT)?;
    }
    Ok(())
}

/// How much more production has than a preview at least: by their weights it is five times.
const PRODUCTION: f64 = 2.5;

/// The dispatcher may talk to no address at all: what runs in its cgroup cannot even reach the
/// router, which whoever is outside of it can. A fork's preview may not talk to this host, and is
/// visited all the same.
pub(crate) fn of_addresses(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Forgejo, "moated", "pull_requests = \"all\"\n")?;
    let head = project.commit("elsewhere", &kennel.sources().service("api", "theirs"), "theirs")?;
    let pull = PullRequest {
        number: 4,
        head: head.after.clone(),
        head_branch: "fix".to_owned(),
        head_repository: HeadRepository::Fork,
        base_branch: "main".to_owned(),
    };
    project.pull_request(&pull, PullRequestAction::Opened)?;
    let ours = project.push("ours", &kennel.sources().service("api", "ours"), "ours")?.after;
    for (slug, version) in [("pr-4", "theirs"), ("ours", "ours")] {
        kennel.expect_page(&project.address("api", slug), "/version", version, LIMIT)?;
    }
    // Shorter than the kernel tries to connect.
    let curl = "curl --silent --output /dev/null --max-time 3 http://127.0.0.1/";
    let from = |commit: &str| {
        let unit = unit_of(kennel, &project, "api", commit)?;
        let group = show(kennel, &unit, "ControlGroup")?;
        let into = format!("echo $$ >/sys/fs/cgroup{group}/cgroup.procs");
        kennel.host().try_run(&["sh", "-euc", &format!("{into}\nexec {curl}")])
    };
    let (theirs, ours) = (from(&head.after)?, from(&ours)?);
    ensure!(matches!(theirs.code, 7 | 28), "a fork's preview reaches this host: {theirs:?}");
    ensure!(ours.code == 0, "a preview does not reach the router: {ours:?}");

    kennel.wait_for("answer of the router", LIMIT, || kennel.host().sh(curl).map(Some))?;
    // Stopped, so that it does not leave meanwhile and take its cgroup with it.
    let inside = kennel.host().try_run(&[
        "sh",
        "-euc",
        &format!(
            "systemctl start kennel-dispatch.service
             systemctl kill --signal=STOP kennel-dispatch.service
             echo $$ >/sys/fs/cgroup/system.slice/kennel-dispatch.service/cgroup.procs
             exec {curl}"
        ),
    ])?;
    kennel.host().run(&["systemctl", "kill", "--signal=CONT", "kennel-dispatch.service"])?;
    // curl(1): 7, it cannot connect; 28, nothing came within the time.
    ensure!(matches!(inside.code, 7 | 28), "what is denied every address got through: {inside:?}");
    Ok(())
}

/// The slowest but one of each hundred requests, as a visitor within the host sees it.
fn p99(kennel: &Kennel, visitor: &str, host: &str) -> Result<Duration> {
    // Before everything else, so that it is not the visitor who is late.
    let argv = ["chrt", "-f", "10", visitor, "visit", host, &REQUESTS.to_string(), APART];
    let mut took: Vec<u64> =
        kennel.host().run(&argv)?.lines().map(str::parse).collect::<Result<_, _>>()?;
    took.sort_unstable();
    let at = took.len() * 99 / 100;
    took.get(at).copied().map(Duration::from_micros).context("nobody visited")
}

fn pushed(kennel: &Kennel, name: &str, sources: &Sources) -> Result<(Project, String)> {
    let project = kennel.project(name)?;
    let commit = project.push("main", sources, name)?.after;
    Ok((project, commit))
}

/// Waits for a build to fail, and wants every one of `words` in its reason.
fn expect_reason((project, commit): &(Project, String), words: &[&str]) -> Result<()> {
    let build = project.expect_build(commit, "failed", LIMIT)?;
    let text = build.to_string();
    for word in words {
        ensure!(text.contains(word), "the reason does not say {word:?}: {text}");
    }
    Ok(())
}

/// Waits until `kennelctl status` shows a deployment in a state.
fn deployment(
    kennel: &Kennel,
    project: &Project,
    service: &str,
    commit: &str,
    state: &str,
) -> Result<Value> {
    let is = |row: &Value, key: &str, value: &str| row.get(key).is_some_and(|it| it == value);
    kennel.wait_for(&format!("{state} deployment of {service}"), LIMIT, || {
        let rows = project.deployments()?;
        let row = rows.iter().find(|row| is(row, "name", service) && is(row, "commit", commit));
        let row = row.context("no such deployment")?;
        if is(row, "state", state) { Ok(Some(row.clone())) } else { Err(anyhow!("{row}")) }
    })
}

fn unit_of(kennel: &Kennel, project: &Project, service: &str, commit: &str) -> Result<String> {
    let row = deployment(kennel, project, service, commit, "active")?;
    let unit = row.get("unit").and_then(Value::as_str);
    unit.map(str::to_owned).with_context(|| format!("no unit: {row}"))
}

fn show(kennel: &Kennel, unit: &str, property: &str) -> Result<String> {
    let shown = kennel.host().run(&["systemctl", "show", "--value", "-p", property, unit])?;
    Ok(shown.trim().to_owned())
}

/// How many processors a unit kept busy over ten seconds.
fn processors_used(kennel: &Kennel, unit: &str) -> Result<f64> {
    processors_used_by(kennel, [unit]).map(|[used]| used)
}

/// How many processors each of the units kept busy over the same ten seconds.
fn processors_used_by<const N: usize>(kennel: &Kennel, units: [&str; N]) -> Result<[f64; N]> {
    let all = units.join(" ");
    // Of several units systemctl puts an empty line between the answers.
    let text = kennel.host().sh(&format!(
        "look() {{ systemctl show --value -p CPUUsageNSec {all} | grep .; cut -d ' ' -f 1 /proc/uptime; }}
         look; sleep 10; look"
    ))?;
    let numbers: Vec<f64> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
    let then = numbers.iter().skip(N + 1);
    let mut spent = numbers.iter().zip(then).map(|(was, is)| is - was);
    let used: Vec<f64> = spent.by_ref().take(N).map(|nanoseconds| nanoseconds / 1e9).collect();
    let seconds = spent.next().with_context(|| format!("not two looks: {text}"))?;
    let used: Vec<f64> = used.into_iter().map(|used| used / seconds).collect();
    used.try_into().map_err(|_| anyhow!("not two looks: {text}"))
}
