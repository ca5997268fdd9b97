//! `nix-collect-garbage` takes what nobody needs any more, whenever it runs, and nothing else.

use kennel_tests::{Kennel, LIMIT, Project, Result, Rows, Settings, ensure};

/// Collected without a pause while versions are built, deployed and served, and once at the end.
pub(crate) fn collected_all_the_while(kennel: &Kennel) -> Result<()> {
    let _settings = Settings::with(kennel, "keep_deployments = 2\n")?;
    let project = kennel.project("garbage")?;
    let (api, web) = (project.address("api", "main"), project.address("web", "main"));
    let collector = Collector::start(kennel)?;
    // Other tests' projects may keep what they have built on this host: of the same sources it would
    // be the same paths.
    let versions = ["rubbish-1", "rubbish-2", "rubbish-3", "rubbish-4", "rubbish-5"];
    for version in versions {
        let sources = kennel.sources().service("api", version).site("web", version);
        let commit = project.push("main", &sources, version)?.after;
        project.expect_build(&commit, "succeeded", LIMIT)?;
        kennel.expect_page(&api, "/version", version, LIMIT)?;
        kennel.expect_page(&web, "/", version, LIMIT)?;
    }
    kennel.wait_for("end of all drains", LIMIT, || {
        let rows = Rows::read(kennel)?;
        Ok(rows.of("garbage").all(|it| it.state != "draining").then_some(()))
    })?;
    let rounds = collector.stop()?;
    ensure!(rounds >= versions.len(), "garbage was collected only {rounds} times");
    collect(kennel)?;

    let rows = Rows::read(kennel)?;
    for name in ["api", "web"] {
        let of_name = rows.of("garbage").filter(|it| it.service == name);
        let mut all: Vec<_> = of_name.collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.id));
        let states: Vec<_> = all.iter().map(|it| it.state.as_str()).collect();
        let expected = ["active", "retired", "retired", "torn_down", "torn_down"];
        ensure!(states == expected, "the deployments of {name} are {states:?}");
        for it in all {
            let there = exists(kennel, &it.store_path)?;
            ensure!(there == it.holds(), "{}: {} exists: {there}", it.state, it.store_path);
        }
    }
    kennel.host().run(&["kennelctl", "rollback", "garbage/main/api"])?;
    kennel.expect_page(&api, "/version", "rubbish-4", LIMIT)?;
    kennel.host().run(&["kennelctl", "rollback", "garbage/main/web"])?;
    kennel.expect_page(&web, "/", "rubbish-4", LIMIT)?;
    expect_nothing_after_the_end(kennel, &project)
}

fn expect_nothing_after_the_end(kennel: &Kennel, project: &Project) -> Result<()> {
    let rows = Rows::read(kennel)?;
    let paths: Vec<_> = rows.of(project.name()).map(|it| it.store_path.clone()).collect();
    kennel.host().run(&["kennelctl", "teardown", "garbage/main", "--yes"])?;
    collect(kennel)?;
    for path in paths {
        ensure!(!exists(kennel, &path)?, "{path} outlives its branch");
    }
    Ok(())
}

fn collect(kennel: &Kennel) -> Result<()> {
    kennel.host().run(&["nix-collect-garbage"])?;
    Ok(())
}

fn exists(kennel: &Kennel, path: &str) -> Result<bool> {
    Ok(kennel.host().try_run(&["test", "-e", path])?.code == 0)
}

/// Collects without a pause, until this is stopped or dropped.
struct Collector<'a>(&'a Kennel);

const UNIT: &str = "collector.service";
const LOOP: &str = "while nix-collect-garbage; do echo collected; done";

impl<'a> Collector<'a> {
    fn start(kennel: &'a Kennel) -> Result<Self> {
        kennel.host().run(&["systemd-run", "--unit", UNIT, "--quiet", "sh", "-c", LOOP])?;
        Ok(Self(kennel))
    }

    /// Says how often it has collected.
    fn stop(self) -> Result<usize> {
        let state = self.0.host().run(&["systemctl", "is-active", UNIT])?;
        ensure!(state.trim() == "active", "the collector is {state}");
        let journal = self.0.host().journal(&["-u", UNIT, "-o", "cat"])?;
        Ok(journal.lines().filter(|line| *line == "collected").count())
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        let _ = self.0.host().run(&["systemctl", "stop", UNIT]);
    }
}
