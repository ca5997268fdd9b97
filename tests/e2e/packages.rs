//! Packages on a Debian that has never seen Kennel: from the first installation to the last trace.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kennel_tests::{
    Bare, Context, Event, Host, Kennel, LIMIT, PACKAGES, Project, Result, anyhow, builders, ensure,
    expect_deployment, go_on, that_waits,
};

use crate::readme;

/// An hour: these builds end when they are told to.
const BUILD_SECS: u32 = 3601;
const REMOVED_BUILD_SECS: u32 = 3602;

/// Shorter than the minute without requests after which the receiver leaves by itself.
const RENEWED_LIMIT: Duration = Duration::from_secs(50);

/// An operator's own unit, whose name begins as Kennel's do.
const NOT_KENNELS: &str = "kennel-backup.service";

/// As the README says it, then a newer version under load, removed, installed again, purged.
pub(crate) fn of_debian(bare: &Bare) -> Result<()> {
    let host = bare.host();
    expect_tidy(bare)?;
    host.write(
        &format!("etc/systemd/system/{NOT_KENNELS}"),
        "[Service]\nExecStart=sleep infinity\n",
    )?;
    host.run(&["systemctl", "start", NOT_KENNELS])?;
    let before = everything(host)?;
    let said = install_as_documented(bare)?;
    ensure!(said.contains("/etc/kennel/config.toml"), "the first installation says only {said}");
    let kennel = bare.kennel()?;
    ensure!(host.failed_units()?.is_empty(), "{:?} failed", host.failed_units()?);

    let project = kennel.project("packed")?;
    let sources = kennel.sources().service("api", "packed").site("web", "packed");
    let pushed = project.push("main", &sources, "a service and a site")?;
    let (api, web) = (project.address("api", "main"), project.address("web", "main"));
    let expect_pages = || -> Result<()> {
        kennel.expect_page(&api, "/version", "packed", LIMIT)?;
        kennel.expect_page(&web, "/", "packed", LIMIT).map(drop)
    };
    expect_pages()?;
    let unit = expect_deployment(&kennel, &project, "api", &pushed.after, "active")?.unit();

    // Visitors, and a build that goes on all the while.
    let slow = project.push("slow", &that_waits(&kennel, BUILD_SECS), "a slow build")?;
    let building = expect_builder(&kennel, BUILD_SECS)?;
    let pids = |units: &[&str]| -> Result<Vec<String>> {
        let pid = |unit| host.run(&["systemctl", "show", "--value", "-p", "MainPID", unit]);
        units.iter().map(|unit| pid(unit).map(|it| it.trim().to_owned())).collect()
    };
    let job = host.run(&["systemctl", "list-units", "--plain", "--no-legend", "kennel-build@*"])?;
    let job = job.split_whitespace().next().unwrap_or_default().to_owned();
    let stay = [unit.as_str(), job.as_str(), NOT_KENNELS];
    let (untouched, [router]) = (pids(&stay)?, [pids(&["kennel-router.service"])?]);
    let load = kennel.load(&api, 8)?;
    // A program that leaves when idle is kept here by these.
    while_the_forge_rings(&project, || install(host, &bare.newer).map(drop))?;
    ensure!(builders(&kennel, BUILD_SECS)? == building, "the upgrade has ended a builder");
    ensure!(pids(&stay)? == untouched, "the upgrade has touched one of {stay:?}");
    let new_router = pids(&["kennel-router.service"])?;
    ensure!(new_router != router, "the router is still the old one");
    expect_new_programs(&kennel)?;
    load.stop()?.expect_clean()?;
    go_on(&kennel, BUILD_SECS)?;
    project.expect_build(&slow.after, "succeeded", LIMIT)?;
    expect_deployment(&kennel, &project, "web", &slow.after, "active")?;
    let version = host.run(&["dpkg-query", "--show", "--showformat=${Version}", "kennel"])?;
    ensure!(version == "99~newer", "{version} is installed");
    ensure!(host.failed_units()?.is_empty(), "{:?} failed", host.failed_units()?);

    // Removed, nothing of it runs; installed again, all of it serves by itself, and what was being
    // built is built again.
    let again = project.push("again", &that_waits(&kennel, REMOVED_BUILD_SECS), "built twice")?;
    expect_builder(&kennel, REMOVED_BUILD_SECS)?;
    host.run(&["apt-get", "remove", "--quiet", "--quiet", "--yes", "kennel"])?;
    expect_no_process(host)?;
    ensure!(kennel.get(&api, "/").is_err(), "port 80 answers without Kennel");
    install(host, &bare.newer)?;
    expect_pages()?;
    expect_builder(&kennel, REMOVED_BUILD_SECS)?;
    go_on(&kennel, REMOVED_BUILD_SECS)?;
    project.expect_build(&again.after, "succeeded", LIMIT)?;

    // Two who each know the same files would remove them from under the other.
    let script = unpacked(bare)?;
    let refused = host.try_run(&[&script])?;
    ensure!(refused.code == 1 && refused.stderr.contains("apt-get"), "{refused:?}");

    // Purged while it serves.
    host.run(&["apt-get", "purge", "--quiet", "--quiet", "--yes", "kennel"])?;
    expect_no_process(host)?;
    expect_as_before(&before, &everything(host)?)?;
    from_an_archive(bare)
}

fn expect_builder(kennel: &Kennel, seconds: u32) -> Result<String> {
    kennel.wait_for("the builder", LIMIT, || {
        let at_it = builders(kennel, seconds)?;
        Ok((!at_it.is_empty()).then_some(at_it))
    })
}

/// Each delivery is taken, whatever happens meanwhile.
fn while_the_forge_rings(project: &Project, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ringing = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                project.tell(&Event::Ping)?;
            }
            project.tell(&Event::Ping)
        });
        let acted = act();
        over.store(true, Ordering::Relaxed);
        ringing.join().map_err(|_| anyhow!("the forge panicked"))??;
        acted
    })
}

/// Nothing of what runs is an older program, but jobs.
fn expect_new_programs(kennel: &Kennel) -> Result<()> {
    kennel.wait_for("the new programs", RENEWED_LIMIT, || {
        let gone = kennel
            .host()
            .sh("readlink /proc/[0-9]*/exe | grep '^/usr/lib/kennel/.*(deleted)' | \
             grep -v '/kennel-build ' || :")?;
        if gone.is_empty() { Ok(Some(())) } else { Err(anyhow!("there still run {gone}")) }
    })
}

/// As Debian's own linters see it, on this machine.
fn expect_tidy(bare: &Bare) -> Result<()> {
    let package = bare.host().root().join(bare.newer.trim_start_matches('/'));
    let lint = Command::new("lintian").args(["--fail-on", "error,warning"]).arg(&package).output();
    let lint = lint.context("cannot run lintian")?;
    let said = String::from_utf8_lossy(&lint.stdout);
    ensure!(lint.status.success() && said.is_empty(), "lintian says: {said}");
    let mut check = Command::new("shellcheck");
    for script in ["install.sh", "debian/postinst", "debian/prerm", "debian/postrm"] {
        check.arg(bare.path(&format!("packaging/{script}")));
    }
    let check = check.output().context("cannot run shellcheck")?;
    let said = String::from_utf8_lossy(&check.stdout);
    ensure!(check.status.success(), "shellcheck says: {said}");
    Ok(())
}

/// The commands of the README, one by one as they stand there.
fn install_as_documented(bare: &Bare) -> Result<String> {
    let commands = readme::commands("apt-get install ./")?;
    ensure!(commands.len() == 4, "the README has another number of commands: {commands:?}");
    let mut said = String::new();
    for command in commands {
        // There are packages of two versions, and nobody publishes either.
        let command = command.replace("./kennel_*.deb", &bare.older);
        said.push_str(&bare.host().sh(&format!("cd {PACKAGES}; exec 2>&1; {command}"))?);
    }
    Ok(said)
}

fn install(host: &Host, package: &str) -> Result<String> {
    host.run(&["apt-get", "install", "--quiet", "--quiet", "--yes", package])
}

fn expect_no_process(host: &Host) -> Result<()> {
    let left = host.try_run(&["pgrep", "-a", "kennel"])?.stdout;
    ensure!(left.is_empty(), "there still run {left}");
    let units = ["list-units", "--plain", "--no-legend", "--state=active,activating,deactivating"];
    let argv: Vec<&str> = ["systemctl"].into_iter().chain(units).chain(["kennel*"]).collect();
    let left = host.run(&argv)?;
    let left: Vec<&str> = left.lines().filter(|line| !line.starts_with(NOT_KENNELS)).collect();
    ensure!(left.is_empty(), "there are still {left:?}");
    let own = host.run(&["systemctl", "is-active", NOT_KENNELS])?;
    ensure!(own.trim() == "active", "{NOT_KENNELS} is {own}");
    // Builders are no longer held down.
    let slice = host.run(&["systemctl", "show", "-P", "ControlGroup", "nix-daemon.service"])?;
    ensure!(slice.trim() == "/system.slice/nix-daemon.service", "the Nix daemon is in {slice}");
    Ok(())
}

/// Installed over nothing, upgraded, and removed, by the archive's own script.
fn from_an_archive(bare: &Bare) -> Result<()> {
    let host = bare.host();
    let before = everything(host)?;
    let script = unpacked(bare)?;
    let said = host.run(&[&script])?;
    ensure!(said.contains("systemctl enable --now kennel.target"), "{said}");
    let kennel = bare.kennel()?;
    let project = kennel.project("unpacked")?;
    project.push("main", &kennel.sources().service("api", "unpacked"), "a service")?;
    let api = project.address("api", "main");
    kennel.expect_page(&api, "/version", "unpacked", LIMIT)?;
    let load = kennel.load(&api, 8)?;
    ensure!(host.run(&[&script])?.contains("upgraded"), "it is not installed over itself");
    load.stop()?.expect_clean()?;
    expect_refusals(host, &script)?;
    host.run(&[&script, "--uninstall"])?;
    expect_no_process(host)?;
    let left: BTreeSet<String> = everything(host)?
        .difference(&before)
        .filter(|it| it.starts_with("/usr"))
        .cloned()
        .collect();
    ensure!(left.is_empty(), "of the archive there is left {left:?}");
    Ok(())
}

/// The archive's script.
fn unpacked(bare: &Bare) -> Result<String> {
    bare.host().sh(&format!("cd {PACKAGES}; tar --extract --file {}", bare.tarball))?;
    Ok(format!("{}/install.sh", bare.tarball.trim_end_matches(".tar.gz")))
}

fn expect_refusals(host: &Host, script: &str) -> Result<()> {
    for (without, says) in [
        ("/usr/bin/git", "lacks git"),
        ("/usr/bin/nix", "lacks Nix"),
        ("/usr/bin/systemctl", "lacks systemd"),
    ] {
        let hidden =
            format!("mv {without} {without}.hidden; trap 'mv {without}.hidden {without}' EXIT");
        let refused = host.try_run(&["sh", "-c", &format!("{hidden}; {script} 2>&1")])?;
        ensure!(refused.code == 1 && refused.stdout.contains(says), "{refused:?}");
    }
    let unknown = host.try_run(&[script, "--rot"])?;
    ensure!(unknown.code == 2 && unknown.stderr.contains("`--rot'"), "{unknown:?}");
    Ok(())
}

/// Files where programs, configuration and state are, units, users, and groups.
fn everything(host: &Host) -> Result<BTreeSet<String>> {
    let files = host.sh("find /etc /usr /var /opt /nix/var/nix/gcroots -xdev \\
           \\( -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path /var/tmp \\
              -o -path /var/lib/apt -o -path /nix/var/nix/gcroots/auto \\
              -o -path /nix/var/nix/gcroots/per-user \\) -prune -o -print
         find /run/kennel /run/systemd/system /run/systemd/transient 2>/dev/null || :
         systemctl list-units --all --plain --no-legend 'kennel*' builds.slice
         getent passwd; getent group")?;
    // What is made whenever users change.
    let of_accounts =
        ["/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock"];
    Ok(files.lines().filter(|line| !of_accounts.contains(line)).map(str::to_owned).collect())
}

fn expect_as_before(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Result<()> {
    let (left, lost): (Vec<_>, Vec<_>) =
        (now.difference(before).collect(), before.difference(now).collect());
    ensure!(left.is_empty() && lost.is_empty(), "purged, it has left {left:?} and taken {lost:?}");
    Ok(())
}
