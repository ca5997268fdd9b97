//! Many pushes at once: each is answered, none is lost, and the newest of each branch serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kennel_tests::{
    Ask, Asked, BuildRow, Context, Edit, Event, Forge, Kennel, LIMIT, NO_COMMIT, Project, Pushed,
    Result, anyhow, builders, ensure, expect_no_leftovers, say_figures, that_waits,
};

const BRANCHES: usize = 50;
const PUSHES: usize = 10;

/// One for each branch, which keeps its order: each sends as soon as its last one was answered.
const SENDERS: usize = BRANCHES;

/// All deliveries of the flood are to be there by then.
const FLOODED: Duration = Duration::from_secs(2);

/// Forgejo and Gitea give up then, and GitHub after ten.
const FORGES_PATIENCE: Duration = Duration::from_secs(5);

/// Of the host that all tests share: what it has by default.
const AT_ONCE: usize = 2;

/// How long the builder of the first branch would take, which never comes to its end.
const HOURS: u32 = 31_001;

/// 500 deliveries for 50 branches, and behind them one of another project.
pub(crate) fn of_pushes_ends_with_the_newest(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("flood")?;
    let other = kennel.project("beside-flood")?;
    let beside = other.commit("main", &kennel.sources().site("web", "beside"), "beside")?;
    let beside = other.asks(&beside.event())?;
    let base = project.commit("base", &kennel.sources().site("web", "base"), "base")?.after;
    let endless = project.push("b0", &that_waits(kennel, HOURS), "it never ends")?;
    let pushed = project.commit_edits(&base, &edits())?;
    let asks = pushed.iter().map(|pushed| project.asks(&pushed.event()));
    let asks: Vec<Ask> = asks.collect::<Result<Vec<_>>>()?.concat();
    ensure!(asks.len() == BRANCHES * PUSHES, "there are {} deliveries", asks.len());
    kennel.wait_for("builder that never ends", LIMIT, || {
        Ok((!builders(kennel, HOURS)?.is_empty()).then_some(()))
    })?;

    let over = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let watching = scope.spawn(|| watch(kennel, &over));
        let ended = (|| -> Result<()> {
            let begun = Instant::now();
            let statuses = send(kennel, &asks)?;
            say_took(&asks, begun.elapsed(), "beside builds and other tests");
            ensure!(
                statuses == BTreeMap::from([(202, asks.len())]),
                "the answers are {statuses:?}"
            );
            for ask in &beside {
                let answer = kennel.ask(ask)?;
                ensure!(answer.status == 202, "the other project's push: {answer:?}");
            }
            let page = other.address("web", "main");
            kennel.expect_page(&page, "/", "beside", LIMIT)?;
            expect_the_newest(kennel, &project, &pushed)
        })();
        over.store(true, Ordering::SeqCst);
        watching.join().map_err(|_panic| anyhow!("the watcher panicked"))??;
        ended
    })?;

    let builds = BuildRow::of(kennel, "flood")?;
    expect_each_accounted_for(&builds, &endless, &pushed)?;
    ensure!(builders(kennel, HOURS)?.is_empty(), "the superseded builder goes on");
    expect_its_turn(&builds, &BuildRow::of(kennel, "beside-flood")?)?;

    // Redelivered, all of them are known.
    let statuses = send(kennel, &asks)?;
    ensure!(statuses == BTreeMap::from([(200, asks.len())]), "redelivered: {statuses:?}");
    let asked = Asked::about(kennel, "flood")?;
    ensure!(asked.len() == asks.len() + 1, "there are {} rows", asked.len());
    let waiting = asked.iter().filter(|it| it.outcome.is_none()).count();
    ensure!(waiting == 0, "{waiting} rows still wait");
    ensure!(BuildRow::of(kennel, "flood")?.len() == builds.len(), "something is built again");
    expect_no_leftovers(kennel, "flood")?;
    Ok(())
}

/// The same deliveries, of commits that nobody builds, on a machine that has nothing else to do.
pub(crate) fn of_pushes_is_taken_in_two_seconds(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Forgejo, "deluge", "branches = [\"none\"]")?;
    let asks = edits().into_iter().enumerate().map(|(number, edit)| {
        // Zeros alone would be a deletion.
        let after = format!("{:040x}", number + 1);
        project.asks(&Event::Push { branch: edit.branch, before: NO_COMMIT.to_owned(), after })
    });
    let asks: Vec<Ask> = asks.collect::<Result<Vec<_>>>()?.concat();
    ensure!(asks.len() == BRANCHES * PUSHES, "there are {} deliveries", asks.len());
    let begun = Instant::now();
    let statuses = send(kennel, &asks)?;
    let took = begun.elapsed();
    say_took(&asks, took, "on a machine of their own");
    ensure!(statuses == BTreeMap::from([(202, asks.len())]), "the answers are {statuses:?}");
    ensure!(took < FLOODED, "the last answer came after {took:?}");
    kennel.wait_for("outcome of all", LIMIT, || {
        let asked = Asked::about(kennel, "deluge")?;
        let waiting = asked.iter().filter(|it| it.outcome.is_none()).count();
        if waiting == 0 { Ok(Some(())) } else { Err(anyhow!("{waiting} rows wait")) }
    })
}

fn say_took(asks: &[Ask], took: Duration, how: &str) {
    say_figures(&format!("{} deliveries were answered in {took:.2?}, {how}", asks.len()));
}

/// All branches' first push, then all branches' second, and so on.
fn edits() -> Vec<Edit> {
    let edit = |push: usize, branch: usize| Edit {
        branch: format!("b{branch}"),
        path: "sites/web/index.html".to_owned(),
        text: text(&format!("b{branch}"), push),
    };
    (0..PUSHES).flat_map(|push| (0..BRANCHES).map(move |branch| edit(push, branch))).collect()
}

fn text(branch: &str, push: usize) -> String {
    format!("<p>branch {branch}, push {push}.</p>")
}

/// Every branch by one sender, which keeps its order. Returns how often each status came.
fn send(kennel: &Kennel, asks: &[Ask]) -> Result<BTreeMap<u16, usize>> {
    let by = |sender: usize| asks.iter().skip(sender).step_by(SENDERS);
    let answers = thread::scope(|scope| -> Result<Vec<u16>> {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || -> Result<Vec<u16>> {
                    let asks: Vec<&Ask> = by(sender).collect();
                    let mut statuses = Vec::new();
                    for (answer, took) in kennel.ask_each(&asks)? {
                        ensure!(took < FORGES_PATIENCE, "an answer came after {took:?}");
                        statuses.push(answer.status);
                    }
                    Ok(statuses)
                })
            })
            .collect();
        let mut all = Vec::new();
        for sender in senders {
            all.extend(sender.join().map_err(|_panic| anyhow!("a sender panicked"))??);
        }
        Ok(all)
    })?;
    let mut counts = BTreeMap::new();
    for status in answers {
        *counts.entry(status).or_default() += 1;
    }
    Ok(counts)
}

/// Looks at the units until it is over: never more of them build than may.
fn watch(kennel: &Kennel, over: &AtomicBool) -> Result<()> {
    let mut looks = 0;
    while !over.load(Ordering::SeqCst) {
        let list = ["systemctl", "list-units", "--plain", "--no-legend", "kennel-build@*"];
        let listed = kennel.host().run(&list)?;
        // A unit whose row has ended since, or had before, tidies up beside the next one.
        let rows = BuildRow::all(kennel)?;
        let builds = rows
            .iter()
            .filter(|row| row.state == "building")
            .filter(|row| listed.contains(&format!("kennel-build@{}.service", row.id)));
        let builds: Vec<i64> = builds.map(|row| row.id).collect();
        ensure!(builds.len() <= AT_ONCE, "these build at once: {builds:?}\n{listed}");
        looks += 1;
        thread::sleep(Duration::from_millis(200));
    }
    ensure!(looks > 10, "it was looked at {looks} times only");
    Ok(())
}

fn expect_the_newest(kennel: &Kennel, project: &Project, pushed: &[Pushed]) -> Result<()> {
    for newest in pushed.iter().rev().take(BRANCHES).rev() {
        let wanted = text(&newest.branch, PUSHES - 1);
        kennel.expect_page(&project.address("web", &newest.branch), "/", &wanted, LIMIT)?;
    }
    Ok(())
}

/// The newest build of each branch succeeded. An older one did, or says which newer one came; and
/// whatever the machine's pace, no more of them ran at once than may.
fn expect_each_accounted_for(
    builds: &[BuildRow],
    endless: &Pushed,
    pushed: &[Pushed],
) -> Result<()> {
    for push in pushed.iter().chain([endless]) {
        let build = builds.iter().find(|build| build.commit == push.after);
        let build = build.with_context(|| format!("no build of {push:?}"))?;
        let newer = builds.iter().filter(|it| it.git_ref == build.git_ref && it.id > build.id);
        match build.state.as_str() {
            "superseded" => {
                let by = build.superseded_by.context("by nobody")?;
                ensure!(newer.clone().any(|it| it.id == by), "{build:?} is superseded by {by}");
            }
            "succeeded" => {}
            _ => return Err(anyhow!("a build is neither done nor superseded: {build:?}")),
        }
        ensure!(newer.count() > 0 || build.state == "succeeded", "the newest is {build:?}");
    }
    ensure!(builds.len() == pushed.len() + 1, "there are {} builds", builds.len());
    let first = builds.iter().find(|build| build.commit == endless.after);
    let first = first.context("the endless one has no row")?;
    ensure!(first.state == "superseded" && first.started_at.is_some(), "it is {first:?}");

    let ran: Vec<(i64, i64)> =
        builds.iter().filter_map(|it| Some((it.started_at?, it.finished_at?))).collect();
    for (at, _) in &ran {
        let beside = ran.iter().filter(|(from, to)| (*from..*to).contains(at)).count();
        ensure!(beside <= AT_ONCE, "{beside} builds ran at {at}: {ran:?}");
    }
    Ok(())
}

/// The other project's build did not wait for the flood's.
fn expect_its_turn(flood: &[BuildRow], beside: &[BuildRow]) -> Result<()> {
    let [beside] = beside else { return Err(anyhow!("there are more: {beside:?}")) };
    let (queued, started) = (beside.queued_at, beside.started_at.context("it never began")?);
    let before = flood.iter().filter(|it| it.started_at.is_some_and(|at| at > queued));
    let before = before.clone().filter(|it| it.started_at.is_some_and(|at| at < started)).count();
    let after = flood.iter().filter(|it| it.started_at.is_some_and(|at| at >= started)).count();
    ensure!(before <= AT_ONCE, "{before} builds of the flood were let go before it");
    ensure!(after >= BRANCHES / 2, "only {after} builds of the flood were left to begin");
    Ok(())
}
