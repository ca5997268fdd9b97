//! The clock of all of Kennel is set back an hour while pushes are under way: the newest push wins
//! all the same, and what drains does not drain for an hour.
//!
//! The host shares the machine's clock, so libfaketime tells Kennel's programs another time; their
//! monotonic clock goes on, as the kernel's does when somebody sets the time.

use std::fs;

use kennel_core::KillPoint::*;
use kennel_tests::{
    Context, Holds, Kennel, LIMIT, Result, Rows, Way, ensure, expect_deployment,
    expect_no_leftovers,
};

/// In the tree, so that every sandbox reads it.
const OFFSET: &str = "etc/kennel-test-clock";

const UNITS: [&str; 6] = [
    "kennel-build@.service",
    "kennel-deploy@.service",
    "kennel-dispatch.service",
    "kennel-restore.service",
    "kennel-teardown@.service",
    "kennel-webhook.service",
];

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

pub(crate) fn set_back_an_hour(kennel: &Kennel) -> Result<()> {
    let clock = Clock::install(kennel)?;
    let holds = Holds::listen(kennel)?;
    let project = kennel.project("clock")?;
    let toml = "[services.api]\nhealth_check = \"/health\"\ndrain_secs = 2\n";
    let sources = |text: &str| kennel.sources().service("api", text).kennel_toml(toml);
    let host = project.address("api", "main");

    let first = project.push("main", &sources("one"), "one")?;
    let before = expect_deployment(kennel, &project, "api", &first.after, "active")?;
    clock.set("-3600")?;
    let second = project.push("main", &sources("two"), "two")?;
    let after = expect_deployment(kennel, &project, "api", &second.after, "active")?;
    let back = before.created_at - after.created_at;
    ensure!((HOUR - 120_000..HOUR).contains(&back), "the clock went back by {back} ms");
    kennel.expect_page(&host, "/version", "two", LIMIT)?;
    expect_no_leftovers(kennel, "clock")?;

    // The drain begins before the clock is set, and its timer is never made.
    clock.set("+0")?;
    let mut armed = holds.of("clock");
    armed.arm(&[Activated])?;
    let third = project.push("main", &sources("three"), "three")?;
    let held = armed.expect(Activated, LIMIT)?;
    clock.set("-3600")?;
    armed.end(&held, Way::Kill)?;
    let third = expect_deployment(kennel, &project, "api", &third.after, "active")?;
    kennel.host().run(&["systemctl", "start", "kennel-dispatch.service"])?;
    expect_no_leftovers(kennel, "clock")?;

    // The newer of two is told of at an earlier time, while the older one starts.
    clock.set("+0")?;
    armed.arm(&[UnitStarted])?;
    let older = project.push("main", &sources("four"), "four")?;
    armed.expect(UnitStarted, LIMIT)?;
    clock.set("-3600")?;
    let newer = project.push("main", &sources("five"), "five")?;
    let superseded = expect_deployment(kennel, &project, "api", &older.after, "superseded");
    armed.release(UnitStarted)?;
    let superseded = superseded?;
    let newest = expect_deployment(kennel, &project, "api", &newer.after, "active")?;
    ensure!(newest.created_at < superseded.created_at, "{newest:?} is later than {superseded:?}");
    kennel.expect_page(&host, "/version", "five", LIMIT)?;
    expect_no_leftovers(kennel, "clock")?;

    // And forward again: what is in the future is not waited for.
    clock.set("+0")?;
    let last = project.push("main", &sources("six"), "six")?;
    expect_deployment(kennel, &project, "api", &last.after, "active")?;
    kennel.expect_page(&host, "/version", "six", LIMIT)?;
    let rows = expect_no_leftovers(kennel, "clock")?;
    let of_third = rows.of("clock").find(|it| it.id == third.id).context("its row is gone")?;
    ensure!(of_third.state == "retired", "{of_third:?}");
    ensure!(Rows::read(kennel)?.of("clock").filter(|it| it.state == "active").count() == 1);
    Ok(())
}

/// Kennel's units with another clock, until it is dropped.
struct Clock<'k> {
    kennel: &'k Kennel,
}

impl<'k> Clock<'k> {
    fn install(kennel: &'k Kennel) -> Result<Self> {
        let library = kennel.host().sh("echo /usr/lib/*/faketime/libfaketime.so.1")?;
        let text = format!(
            "[Service]\nEnvironment=LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE=/{OFFSET}\n\
             Environment=FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n",
            library.trim()
        );
        let clock = Self { kennel };
        clock.set("+0")?;
        for unit in UNITS {
            xtask::base::write(&clock.drop_in(unit).join("clock.conf"), &text)?;
        }
        clock.reload()?;
        Ok(clock)
    }

    /// Renamed into its place, so that nobody reads half of it.
    fn set(&self, offset: &str) -> Result<()> {
        let file = self.kennel.host().root().join(OFFSET);
        let new = file.with_extension("new");
        fs::write(&new, format!("{offset}\n"))?;
        Ok(fs::rename(new, file)?)
    }

    fn drop_in(&self, unit: &str) -> std::path::PathBuf {
        self.kennel.host().root().join("etc/systemd/system").join(format!("{unit}.d"))
    }

    fn reload(&self) -> Result<()> {
        let units = "kennel-webhook.service kennel-dispatch.service";
        self.kennel.host().sh(&format!("systemctl daemon-reload; systemctl stop {units}")).map(drop)
    }
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        for unit in UNITS {
            let _ = fs::remove_dir_all(self.drop_in(unit));
        }
        let _ = self.reload();
    }
}
