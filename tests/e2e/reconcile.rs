//! `kennelctl reconcile`: one run repairs whatever is broken, and touches nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use kennel_core::KillPoint::RootTakenOver;
use kennel_tests::{
    Context, Deployment, Holds, Kennel, LIMIT, Project, Result, Rows, anyhow, ensure,
    expect_deployment, expect_no_leftovers,
};
use serde_json::Value;

const PROJECT: &str = "mended";

/// How often something is broken and repaired.
const ROUNDS: usize = 8;

/// Units that others made: one with a name like Kennel's programs, and one with a name like a
/// deployment's.
const FOREIGN: [&str; 2] = ["kennel-foo.service", "kennel-mended-main-api@4999999.service"];

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Breakage {
    UnitFileDeleted,
    UnitGone,
    UnitStopped,
    ProcessKilled,
    EnvironmentDeleted,
    PortOccupied,
    SlicesStopped,
    SiteLinkDeleted,
    SiteLinkLeadsElsewhere,
    RootsDeleted,
    TableTruncated,
    TableDeleted,
    TableGarbledAndRouterRestarted,
    UnitWithoutRow,
    FilesWithoutRow,
}

const ALL: [Breakage; 15] = [
    Breakage::UnitFileDeleted,
    Breakage::UnitGone,
    Breakage::UnitStopped,
    Breakage::ProcessKilled,
    Breakage::EnvironmentDeleted,
    Breakage::PortOccupied,
    Breakage::SlicesStopped,
    Breakage::SiteLinkDeleted,
    Breakage::SiteLinkLeadsElsewhere,
    Breakage::RootsDeleted,
    Breakage::TableTruncated,
    Breakage::TableDeleted,
    Breakage::TableGarbledAndRouterRestarted,
    Breakage::UnitWithoutRow,
    Breakage::FilesWithoutRow,
];

/// Some of it at a time, chosen at random; in the end each was broken once.
pub(crate) fn whatever_is_broken(kennel: &Kennel) -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = std::env::var("KENNEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(u64::try_from(since.as_nanos() & u128::from(u32::MAX))?);
    broken_by(kennel, fastrand::Rng::with_seed(seed))
        .with_context(|| format!("with KENNEL_SEED={seed}"))
}

fn broken_by(kennel: &Kennel, mut random: fastrand::Rng) -> Result<()> {
    let project = kennel.project(PROJECT)?;
    for version in ["v1", "v2"] {
        let sources = kennel.sources().service("api", version).service("tasks", version);
        let sources = sources.site("web", version);
        project.push("main", &sources, version)?;
        project.push("next", &kennel.sources().service("api", version), version)?;
        expect_pages(kennel, &project, version)?;
    }
    let rows = expect_no_leftovers(kennel, PROJECT)?;
    ensure!(rows.of(PROJECT).any(|it| it.state == "retired"), "nothing can be gone back to");
    let foreign = Foreign::make(kennel)?;
    expect_nothing_to_do(kennel)?;

    let mut left: Vec<Breakage> = ALL.to_vec();
    random.shuffle(&mut left);
    for round in 0..ROUNDS {
        let mut chosen: BTreeSet<Breakage> =
            left.split_off(left.len().saturating_sub(2)).into_iter().collect();
        let more = random.usize(0..3);
        chosen.extend(random.choose_multiple(ALL, more));
        let before = processes(kennel)?;
        let mut disturbed = BTreeSet::new();
        for breakage in &chosen {
            let touched = break_it(kennel, *breakage, &mut random);
            disturbed.extend(touched.with_context(|| format!("{breakage:?}"))?);
        }
        repaired(kennel, &project, &foreign, &before, &disturbed)
            .with_context(|| format!("in round {round}, after {chosen:?}"))?;
    }
    ensure!(left.is_empty(), "{left:?} were never broken");
    expect_unchanged_by_another(kennel)?;
    foreign.expect_alive(kennel)?;
    drop(foreign);
    expect_no_leftovers(kennel, PROJECT)?;
    Ok(())
}

/// A site that is being replaced just then: its link has moved, and its row has not.
pub(crate) fn beside_a_deployment(kennel: &Kennel) -> Result<()> {
    let holds = Holds::listen(kennel)?;
    let project = kennel.project("replaced")?;
    let first = project.push("main", &kennel.sources().site("web", "one"), "one")?.after;
    expect_deployment(kennel, &project, "web", &first, "active")?;
    let mut armed = holds.of("replaced");
    armed.arm(&[RootTakenOver])?;
    let second = project.push("main", &kennel.sources().site("web", "two"), "two")?.after;
    let held = armed.expect(RootTakenOver, LIMIT)?;
    kennel.host().run(&["systemctl", "start", "kennel-restore.service"])?;
    armed.release(held.point)?;
    expect_deployment(kennel, &project, "web", &second, "active")?;
    kennel.expect_page(&project.address("web", "main"), "/", "two", LIMIT)?;
    expect_no_leftovers(kennel, "replaced")?;
    Ok(())
}

/// One run, and everything is as it was, with the same processes but for those that were disturbed.
fn repaired(
    kennel: &Kennel,
    project: &Project,
    foreign: &Foreign<'_>,
    before: &BTreeMap<String, String>,
    disturbed: &BTreeSet<String>,
) -> Result<()> {
    let said = kennel.host().try_run(&["kennelctl", "reconcile"])?;
    ensure!(said.code == 0, "it says {said:?}");
    expect_pages(kennel, project, "v2")?;
    expect_nothing_to_do(kennel)?;
    let after = processes(kennel)?;
    for (unit, pid) in before.iter().filter(|(unit, _)| !disturbed.contains(*unit)) {
        let now = after.get(unit);
        ensure!(now == Some(pid), "{unit} ran as {pid} and runs as {now:?}, undisturbed");
    }
    for deployment in active(kennel)? {
        let root = format!("/nix/var/nix/gcroots/kennel/{}", deployment.id);
        let target = kennel.host().run(&["readlink", &root])?;
        ensure!(target.trim() == deployment.store_path, "{root} leads to {target}");
    }
    foreign.expect_alive(kennel)
}

/// Breaks it. Says which services' processes may be others afterwards.
fn break_it(
    kennel: &Kennel,
    breakage: Breakage,
    random: &mut fastrand::Rng,
) -> Result<Vec<String>> {
    let host = kennel.host();
    let all = active(kennel)?;
    let services: Vec<_> = all.iter().filter(|it| !it.is_site()).collect();
    let service = *random.choice(&services).context("no service")?;
    let (unit, id) = (service.unit(), service.id);
    let site = all.iter().find(|it| it.is_site()).context("no site")?;
    let link = "/var/lib/kennel/sites/mended/main/web";
    let table = "/var/lib/kennel/routes/routes.json";
    let file = format!("/etc/systemd/system/{unit}");
    Ok(match breakage {
        Breakage::UnitFileDeleted => {
            host.run(&["rm", "-f", &file])?;
            Vec::new()
        }
        Breakage::UnitGone => {
            host.run(&["rm", "-f", &file])?;
            stop(kennel, &unit)?;
            host.run(&["systemctl", "daemon-reload"])?;
            vec![unit]
        }
        Breakage::UnitStopped => {
            stop(kennel, &unit)?;
            vec![unit]
        }
        Breakage::ProcessKilled => {
            // One that is down already has no process.
            host.try_run(&["systemctl", "kill", "--signal=KILL", &unit])?;
            vec![unit]
        }
        Breakage::EnvironmentDeleted => {
            host.sh(&format!("rm -f /run/kennel/secrets/*@{id}.env"))?;
            Vec::new()
        }
        Breakage::PortOccupied => {
            let port = service.port.context("no port")?;
            stop(kennel, &unit)?;
            occupy(kennel, port)?;
            vec![unit]
        }
        Breakage::SlicesStopped => {
            host.run(&["systemctl", "stop", "kennel-mended.slice"])?;
            services.iter().map(|it| it.unit()).collect()
        }
        Breakage::SiteLinkDeleted => {
            host.run(&["rm", "-f", link])?;
            Vec::new()
        }
        Breakage::SiteLinkLeadsElsewhere => {
            host.run(&["ln", "-sfn", "/etc", link])?;
            Vec::new()
        }
        Breakage::RootsDeleted => {
            let kept = Rows::read(kennel)?;
            let kept = kept.of(PROJECT).filter(|it| it.holds()).map(|it| it.id.to_string());
            let roots: Vec<_> =
                kept.map(|id| format!("/nix/var/nix/gcroots/kennel/{id}")).collect();
            host.sh(&format!("rm -f {}", roots.join(" ")))?;
            Vec::new()
        }
        Breakage::TableTruncated => {
            host.run(&["truncate", "--size=40", table])?;
            Vec::new()
        }
        Breakage::TableDeleted => {
            host.run(&["rm", "-f", table])?;
            Vec::new()
        }
        Breakage::TableGarbledAndRouterRestarted => {
            host.sh(&format!("echo nothing > {table}; systemctl restart kennel-router"))?;
            Vec::new()
        }
        Breakage::UnitWithoutRow => {
            let stray = "kennel-mended-main-api@4888888.service";
            let text = "[Service]\nExecStart=sleep infinity\n[X-Kennel]\nDeployment=4888888\n";
            host.write(&format!("etc/systemd/system/{stray}"), text)?;
            host.run(&["systemctl", "daemon-reload"])?;
            host.run(&["systemctl", "start", stray])?;
            Vec::new()
        }
        Breakage::FilesWithoutRow => {
            host.sh(&format!(
                "touch /run/kennel/secrets/mended-main-api@4888887.env
                 ln -sfn {} /nix/var/nix/gcroots/kennel/4888887
                 ln -sfn {} /var/lib/kennel/sites/mended/main/gone",
                site.store_path, site.store_path
            ))?;
            Vec::new()
        }
    })
}

fn stop(kennel: &Kennel, unit: &str) -> Result<()> {
    let ended = kennel.host().try_run(&["systemctl", "stop", unit])?;
    // One that is gone already is not loaded: LSB's code 5, as systemctl(1) says.
    ensure!([0, 5].contains(&ended.code), "{unit} cannot be stopped: {ended:?}");
    Ok(())
}

/// Another program takes a port, and keeps it.
fn occupy(kennel: &Kennel, port: u16) -> Result<()> {
    let unit = format!("occupier-{port}.service");
    let address = format!("127.0.0.1:{port}");
    let listen = ["systemd-socket-activate", "--listen", &address, "sleep", "infinity"];
    let run = ["systemd-run", "--quiet", "--collect", "--unit", &unit];
    kennel.host().run(&[&run[..], &listen[..]].concat())?;
    kennel.wait_for("the other program to listen", LIMIT, || {
        let sockets = kennel.host().run(&["cat", "/proc/net/tcp"])?;
        let place = format!("0100007F:{port:04X} 00000000:0000 0A");
        Ok(sockets.contains(&place).then_some(()))
    })
}

fn expect_pages(kennel: &Kennel, project: &Project, version: &str) -> Result<()> {
    for (service, branch) in [("api", "main"), ("tasks", "main"), ("api", "next")] {
        kennel.expect_page(&project.address(service, branch), "/version", version, LIMIT)?;
    }
    kennel.expect_page(&project.address("web", "main"), "/", version, LIMIT)?;
    Ok(())
}

fn expect_nothing_to_do(kennel: &Kennel) -> Result<()> {
    kennel.wait_for("host that matches the rows", LIMIT, || {
        let found = kennel.ctl(&["reconcile", "--dry-run"])?;
        let left = found.get("left").and_then(Value::as_array).context("no answer")?;
        if left.is_empty() { Ok(Some(())) } else { Err(anyhow!("it finds {left:?}")) }
    })
}

/// Another run writes nothing.
fn expect_unchanged_by_another(kennel: &Kennel) -> Result<()> {
    let written = || {
        kennel
            .host()
            .sh("stat -c '%n %i %Y' /etc/systemd/system/kennel-mended-* /run/kennel/secrets/* \
             /var/lib/kennel/routes/routes.json")
    };
    let before = (written()?, processes(kennel)?);
    kennel.host().run(&["kennelctl", "reconcile"])?;
    let after = (written()?, processes(kennel)?);
    ensure!(before == after, "a second run changes {before:?} to {after:?}");
    Ok(())
}

fn active(kennel: &Kennel) -> Result<Vec<Deployment>> {
    let rows = Rows::read(kennel)?;
    Ok(rows.of(PROJECT).filter(|it| it.state == "active").cloned().collect())
}

/// The main process of each service that serves.
fn processes(kennel: &Kennel) -> Result<BTreeMap<String, String>> {
    let services = active(kennel)?.into_iter().filter(|it| !it.is_site()).map(|it| it.unit());
    services.map(|unit| Ok((unit.clone(), pid(kennel, &unit)?))).collect()
}

fn pid(kennel: &Kennel, unit: &str) -> Result<String> {
    let argv = ["systemctl", "show", "--property=MainPID", "--value", unit];
    Ok(kennel.host().run(&argv)?.trim().to_owned())
}

/// What is none of Kennel's business, until this is dropped.
struct Foreign<'a> {
    kennel: &'a Kennel,
    pids: Vec<String>,
}

impl<'a> Foreign<'a> {
    fn make(kennel: &'a Kennel) -> Result<Self> {
        let mut foreign = Self { kennel, pids: Vec::new() };
        for unit in FOREIGN {
            let text = "[Service]\nExecStart=sleep infinity\n";
            kennel.host().write(&format!("etc/systemd/system/{unit}"), text)?;
            kennel.host().run(&["systemctl", "daemon-reload"])?;
            kennel.host().run(&["systemctl", "start", unit])?;
            foreign.pids.push(pid(kennel, unit)?);
        }
        Ok(foreign)
    }

    fn expect_alive(&self, kennel: &Kennel) -> Result<()> {
        for (unit, before) in FOREIGN.iter().zip(&self.pids) {
            let now = pid(kennel, unit)?;
            ensure!(now == *before, "{unit} ran as {before} and runs as {now}");
        }
        let argv = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "occupier-*"];
        let failed = kennel.host().run(&argv)?;
        ensure!(failed.trim().is_empty(), "other programs failed: {failed}");
        Ok(())
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        let host = self.kennel.host();
        for unit in FOREIGN {
            let _ = host.run(&["systemctl", "stop", unit]);
            let _ = host.run(&["rm", "-f", &format!("/etc/systemd/system/{unit}")]);
        }
        let _ = host.run(&["systemctl", "stop", "occupier-*.service"]);
    }
}
