//! Builds that somebody ends: at once, whole, and for good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kennel_tests::{
    Context, Kennel, LIMIT, Project, Pushed, Result, Rows, anyhow, bail, builders, ensure,
    expect_no_leftovers, that_waits,
};
use serde_json::Value;

/// From the wish to the row and the last process, in milliseconds.
const AT_ONCE: i64 = 2000;

/// Alone on the host, so that any process of a builder is one of ours.
pub(crate) fn by_stopping_its_unit(kennel: &Kennel) -> Result<()> {
    let stop = |kennel: &Kennel, id: i64| {
        kennel.host().run(&["systemctl", "stop", &format!("kennel-build@{id}")]).map(drop)
    };
    let reason = |id: i64| format!("stopped on the host (systemctl stop kennel-build@{id})");
    ends_at_once(kennel, "stopped", 32_001, stop, reason)
}

/// The same, by the command for it.
pub(crate) fn by_kennelctl(kennel: &Kennel) -> Result<()> {
    let cancel = |kennel: &Kennel, id: i64| {
        let said = kennel.host().run(&["kennelctl", "cancel", &id.to_string()])?;
        ensure!(said.contains("cancelled"), "kennelctl cancel says {said:?}");
        Ok(())
    };
    ends_at_once(kennel, "cancelled", 32_002, cancel, |_| "cancelled by root".to_owned())
}

fn ends_at_once(
    kennel: &Kennel,
    name: &str,
    seconds: u32,
    end: impl Fn(&Kennel, i64) -> Result<()>,
    reason: impl Fn(i64) -> String,
) -> Result<()> {
    let project = kennel.project(name)?;
    let sources = that_waits(kennel, seconds);
    let pushed = project.push("main", &sources, "wait")?;
    let id = expect_waiting(kennel, &project, &pushed, seconds)?;
    let before = processes(kennel, id)?;
    for part in ["nix build", "kennel-build run", "nixbld"] {
        ensure!(before.contains(part), "nothing like {part} builds:\n{before}");
    }

    let begun = SystemTime::now();
    end(kennel, id)?;
    // No patience here: it was promised that all is gone when it is said to be.
    let build = project.build(&pushed.after)?.context("the build has no row")?;
    ensure!(is(&build, "state", "cancelled"), "the build is {build}");
    kennel.wait_for("end of all processes", Duration::from_secs(5), || {
        let left = processes(kennel, id)?;
        if left.is_empty() { Ok(Some(())) } else { Err(anyhow!("{left}")) }
    })?;
    let took = i64::try_from(begun.elapsed()?.as_millis())?;
    ensure!(took < AT_ONCE, "the last process ended after {took} ms");
    let begun = i64::try_from(begun.duration_since(UNIX_EPOCH)?.as_millis())?;
    let ended = finished_at(kennel, &build)? - begun;
    ensure!((0..AT_ONCE).contains(&ended), "the row ended after {ended} ms");
    ensure!(is(&build, "reason", &reason(id)), "the reason is not {:?}: {build}", reason(id));

    // Nothing of it is left, and nobody builds it again.
    let rows = kennel_tests::expect_nothing_left(kennel, name)?;
    ensure!(rows.of(name).count() == 0, "it was deployed");
    dispatch_again(kennel)?;
    let builds = kennel.ctl(&["builds", "--project", name])?;
    ensure!(builds.as_array().is_some_and(|it| it.len() == 1), "it is built again: {builds}");
    ensure!(processes(kennel, id)?.is_empty(), "it is built again");
    let failed = kennel.host().failed_units()?;
    ensure!(failed.is_empty(), "a cancelled build leaves failed units: {failed:?}");

    // The next push is a new one.
    project.push("main", &kennel.sources().site("web", "after it"), "go on")?;
    kennel.expect_page(&project.address("web", "main"), "/", "after it", LIMIT)?;
    Ok(())
}

/// One that waits for its turn ends without ever having begun.
pub(crate) fn before_its_turn(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("inline")?;
    let mut running = Vec::new();
    for (branch, seconds) in [("one", 32_003), ("two", 32_004)] {
        let pushed = project.push(branch, &that_waits(kennel, seconds), branch)?;
        running.push((expect_waiting(kennel, &project, &pushed, seconds)?, seconds));
    }
    let third = project.push("three", &that_waits(kennel, 32_005), "three")?;
    let queued = project.expect_build(&third.after, "queued", LIMIT)?;
    let id = id_of(&queued)?;
    kennel.host().run(&["kennelctl", "cancel", &id.to_string()])?;
    let build = project.build(&third.after)?.context("the build has no row")?;
    ensure!(is(&build, "state", "cancelled"), "the build is {build}");
    ensure!(build.get("started_at").is_some_and(Value::is_null), "it has begun: {build}");

    // A place is free, and it is not for the one that was cancelled.
    for (id, seconds) in running {
        kennel.host().run(&["kennelctl", "cancel", &id.to_string()])?;
        ensure!(builders(kennel, seconds)?.is_empty(), "the builder of {id} goes on");
    }
    dispatch_again(kennel)?;
    let build = project.build(&third.after)?.context("the build has no row")?;
    ensure!(is(&build, "state", "cancelled"), "the build is {build}");
    let unit = format!("kennel-build@{id}.service");
    let journal = kennel.host().journal(&["-u", &unit])?;
    ensure!(journal.is_empty(), "its unit was started:\n{journal}");
    ensure!(Rows::read(kennel)?.of("inline").count() == 0, "something was deployed");

    // Ended builds cannot be ended again; who asks is told, and the row stays as it is.
    let again = kennel.host().try_run(&["kennelctl", "cancel", "999999"])?;
    ensure!(again.code == 3, "a build that never was is cancelled: {again:?}");
    Ok(())
}

/// A deployment that is not healthy yet ends with its build's number; the one before it goes on.
pub(crate) fn while_it_probes(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("probing")?;
    let toml = "[services.api]\nhealth_check = \"/health\"\nhealth_check_timeout_secs = 600\n";
    let sources = |conf: &str| kennel.sources().service_with("api", conf).kennel_toml(toml);
    project.push("main", &sources("version = probe-1\n"), "one")?;
    let address = project.address("api", "main");
    kennel.expect_page(&address, "/version", "probe-1", LIMIT)?;
    let never = sources("version = probe-2\nnever_healthy = true\nsay = it starts\n");
    let second = project.push("main", &never, "two")?;
    let probing = kennel.wait_for("service that is not healthy yet", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let Some(row) = rows.at("probing", "api", &second.after) else { return Ok(None) };
        let active = kennel.host().try_run(&["systemctl", "is-active", &row.unit()])?;
        Ok((row.state == "starting" && active.stdout.trim() == "active").then(|| row.clone()))
    })?;

    let load = kennel.load(&address, 4)?;
    let build = probing.build.to_string();
    let said = kennel.host().run(&["kennelctl", "cancel", &build])?;
    ensure!(
        said.contains(&format!("deployment {} of probing/main/api is cancelled", probing.id)),
        "kennelctl cancel says {said:?}"
    );
    // No patience here: it said so when nothing was left.
    let rows = Rows::read(kennel)?;
    let row = rows.at("probing", "api", &second.after).context("its row is gone")?;
    ensure!(row.state == "cancelled", "it is {row:?}");
    let active = kennel.host().try_run(&["systemctl", "is-active", &row.unit()])?;
    ensure!(active.stdout.trim() == "inactive", "its service is {active:?}");
    expect_no_leftovers(kennel, "probing")?;
    load.stop()?.expect_clean()?;
    kennel.expect_page(&address, "/version", "probe-1", LIMIT)?;
    dispatch_again(kennel)?;
    let rows = Rows::read(kennel)?;
    let row = rows.at("probing", "api", &second.after).context("its row is gone")?;
    ensure!(row.state == "cancelled", "it is brought up again: {row:?}");

    // Who did it is written down, once, with what came of it.
    let audit = kennel.ctl(&["audit", "probing"])?;
    let rows = audit.as_array().context("no array")?;
    let [row] = rows.as_slice() else { bail!("the audit is {audit}") };
    for (key, value) in [
        ("by", "root".to_owned()),
        ("action", "cancel".to_owned()),
        ("subject", format!("build {build}")),
        ("outcome", format!("deployment {} of build {build}: cancelled", probing.id)),
    ] {
        ensure!(is(row, key, &value), "{key} is not {value:?}: {row}");
    }
    ensure!(row.get("uid").and_then(Value::as_i64) == Some(0), "the uid is not root's: {row}");

    let again = kennel.host().try_run(&["kennelctl", "cancel", &build])?;
    ensure!(
        again.code == 1 && again.stderr.contains("nothing to cancel"),
        "what has ended is cancelled again: {again:?}"
    );
    Ok(())
}

/// Waits until the builder itself runs, so that Nix is in the middle; returns the build's number.
fn expect_waiting(
    kennel: &Kennel,
    project: &Project,
    pushed: &Pushed,
    seconds: u32,
) -> Result<i64> {
    kennel.wait_for("builder that waits", LIMIT, || {
        Ok(Some(builders(kennel, seconds)?).filter(|found| !found.is_empty()))
    })?;
    let build = project.build(&pushed.after)?.context("the build has no row")?;
    ensure!(is(&build, "state", "building"), "the build is {build}");
    id_of(&build)
}

/// Every process that builds: in the unit's cgroup, of a build user, or Nix's for our connection.
fn processes(kennel: &Kennel, id: i64) -> Result<String> {
    let all = kennel.host().run(&["ps", "-e", "-w", "-w", "-o", "user:16=,cgroup:200=,args="])?;
    let unit = format!("kennel-build@{id}.service");
    let builds = |line: &&str| {
        let user = line.split_whitespace().next().unwrap_or_default();
        user == "kennel-build"
            || user.starts_with("nixbld")
            || line.contains(&unit)
            // The daemon forks for each client and writes its process id behind its own name.
            || line.contains("nix-daemon ") && !line.contains("nix-daemon --daemon")
    };
    Ok(all.lines().filter(builds).map(|line| format!("{line}\n")).collect())
}

/// One whole run of the dispatcher, from before its first look to its end.
fn dispatch_again(kennel: &Kennel) -> Result<()> {
    kennel.wait_for("dispatcher that has nothing to do", LIMIT, || {
        let unit = "kennel-dispatch.service";
        let state = kennel.host().try_run(&["systemctl", "is-active", unit])?.stdout;
        if state.trim() != "inactive" {
            bail!("it is {state}");
        }
        Ok(Some(()))
    })?;
    // Type=notify: this returns after it has opened everything; with nothing to do it ends then.
    kennel.host().run(&["systemctl", "start", "kennel-dispatch.service"])?;
    kennel.wait_for("end of the dispatcher", LIMIT, || {
        let state =
            kennel.host().try_run(&["systemctl", "is-active", "kennel-dispatch.service"])?.stdout;
        Ok((state.trim() == "inactive").then_some(()))
    })
}

/// Milliseconds since 1970.
fn finished_at(kennel: &Kennel, build: &Value) -> Result<i64> {
    let at = build.get("finished_at").and_then(Value::as_str).context("it has not ended")?;
    Ok(kennel.host().run(&["date", "-d", at, "+%s%3N"])?.trim().parse()?)
}

fn id_of(build: &Value) -> Result<i64> {
    build.get("id").and_then(Value::as_i64).context("the build has no number")
}

fn is(build: &Value, key: &str, value: &str) -> bool {
    build.get(key).is_some_and(|it| it == value)
}
