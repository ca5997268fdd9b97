//! What each of Kennel's users may ask of systemd.

use kennel_tests::{Kennel, Output, Result, ensure};

/// A number that no row ever has: the jobs start, find nothing to do and end.
const NOBODY: &str = "987654321";

/// The dispatcher's user starts and stops the three kinds of jobs.
pub(crate) fn the_dispatcher_starts_and_stops_jobs(kennel: &Kennel) -> Result<()> {
    for job in ["build", "deploy", "teardown"] {
        let unit = format!("kennel-{job}@{NOBODY}.service");
        for verb in ["start", "stop"] {
            let asked = as_user(kennel, "kennel", &["systemctl", "--no-block", verb, &unit])?;
            ensure!(asked.code == 0, "kennel may not {verb} {unit}: {asked:?}");
        }
    }
    let routes = ["systemctl", "--no-block", "start", "kennel-routes.service"];
    let asked = as_user(kennel, "kennel", &routes)?;
    ensure!(asked.code == 0, "kennel may not have routes published: {asked:?}");
    Ok(())
}

/// And nothing else; the other users nothing at all.
pub(crate) fn nobody_else_starts_anything(kennel: &Kennel) -> Result<()> {
    let router = main_pid(kennel, "kennel-router.service")?;
    let job = format!("kennel-build@{NOBODY}.service");
    let timer = format!("kennel-teardown@{NOBODY}.timer");
    let asked: [&[&str]; 24] = [
        &["systemctl", "stop", "kennel-router.service"],
        &["systemctl", "restart", "kennel-router.service"],
        &["systemctl", "reload", "kennel-router.service"],
        &["systemctl", "start", "kennel-restore.service"],
        &["systemctl", "stop", "kennel-dispatch.socket"],
        &["systemctl", "stop", "kennel.target"],
        &["systemctl", "stop", "nix-daemon.service"],
        &["systemctl", "start", "debug-shell.service"],
        &["systemctl", "start", "kennel-build@x.service"],
        &["systemctl", "start", "kennel-build@0.service"],
        &["systemctl", "start", "kennel-build@1x.service"],
        &["systemctl", "start", "xkennel-build@1.service"],
        &["systemctl", "start", "kennel-first-main-api@1.service"],
        &["systemctl", "start", "xkennel-routes.service"],
        &["systemctl", "start", "kennel-routes.path"],
        &["systemctl", "restart", &job],
        &["systemctl", "kill", "kennel-router.service"],
        &["systemctl", "set-property", "--runtime", &job, "CPUWeight=1"],
        &["systemctl", "start", &timer],
        &["systemctl", "daemon-reload"],
        &["systemctl", "enable", "debug-shell.service"],
        &["systemctl", "set-environment", "A=1"],
        &["systemd-run", "--unit", &job, "/bin/true"],
        &["systemd-run", "/bin/true"],
    ];
    for argv in asked {
        expect_refused(kennel, "kennel", argv)?;
    }
    for user in ["kennel-webhook", "kennel-build", "kennel-router", "nobody"] {
        for job in ["build", "deploy", "teardown"] {
            let unit = format!("kennel-{job}@{NOBODY}.service");
            for verb in ["start", "stop"] {
                expect_refused(kennel, user, &["systemctl", verb, &unit])?;
            }
        }
        expect_refused(kennel, user, &["systemctl", "stop", "kennel-router.service"])?;
    }
    let now = main_pid(kennel, "kennel-router.service")?;
    ensure!(now == router, "the router was process {router} and is {now}");
    Ok(())
}

fn expect_refused(kennel: &Kennel, user: &str, argv: &[&str]) -> Result<()> {
    let mut argv = argv.to_vec();
    // Nobody is there to be asked for a password.
    argv.insert(1, "--no-ask-password");
    let asked = as_user(kennel, user, &argv)?;
    let refused = ["Access denied", "authentication required", "Permission denied"];
    ensure!(
        asked.code != 0 && refused.iter().any(|word| asked.stderr.contains(word)),
        "{user} is not refused {argv:?}: {asked:?}"
    );
    Ok(())
}

fn as_user(kennel: &Kennel, user: &str, argv: &[&str]) -> Result<Output> {
    let runuser: &[&str] = &["runuser", "-u", user, "--", "env", "LC_ALL=C", "SYSTEMD_COLORS=0"];
    kennel.host().try_run(&[runuser, argv].concat())
}

fn main_pid(kennel: &Kennel, unit: &str) -> Result<String> {
    let shown = kennel.host().run(&["systemctl", "show", "--value", "-p", "MainPID", unit])?;
    Ok(shown.trim().to_owned())
}
