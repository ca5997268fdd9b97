//! `kennelctl doctor` on a real host: nothing to complain about, then much that is broken, then
//! healed by the very commands that it prints.

use kennel_tests::{Context, Kennel, LIMIT, Result, ensure};
use serde_json::Value;

/// What no command can mend, or what other tests on this host may have left in the open: projects
/// without a secret, services that are down.
const OF_OTHERS: [&str; 2] = ["configuration.files", "deployments.health"];

/// What is broken, by a script; the check that sees it; words of what it says. `UNIT` and `ID` are
/// the deployed service's.
const BROKEN: [(&str, &str, &str); 12] = [
    ("chmod 0755 /var/lib/kennel/logs", "permissions.paths", "/var/lib/kennel/logs is"),
    ("chmod 0644 /run/kennel/secrets/*@ID.env", "permissions.secrets", "@ID.env can be opened"),
    ("gpasswd -d kennel-build nix-users", "nix.daemon", "closed to kennel-build"),
    ("systemctl mask -q kennel-build@.service", "systemd.units", "kennel-build@.service is masked"),
    ("systemctl stop kennel-webhook.socket", "systemd.started", "kennel-webhook.socket is down"),
    ("systemctl stop UNIT", "deployments.units", "UNIT is inactive"),
    ("rm /nix/var/nix/gcroots/kennel/ID", "deployments.files", "without its GC root"),
    (
        "ln -s /nix/store/x /nix/var/nix/gcroots/kennel/987654321",
        "deployments.files",
        "gcroots/kennel/987654321 keeps",
    ),
    (
        "printf '[X-Kennel]\\nDeployment=987654321\\n' > \
         /etc/systemd/system/kennel-x-main-api@987654321.service",
        "deployments.units",
        "kennel-x-main-api@987654321.service is a deployment's that no longer is",
    ),
    ("echo '{' > /var/lib/kennel/routes/routes.json", "deployments.routes", "cannot be read"),
    (
        "printf '[Timer]\\nOnActiveSec=1h\\n' > \
         /run/systemd/system/kennel-teardown@987654321.timer
         systemctl start kennel-teardown@987654321.timer",
        "deployments.drains",
        "kennel-teardown@987654321.timer waits",
    ),
    ("systemctl stop -q dbus.socket dbus.service", "systemd.bus", "over D-Bus"),
];

/// What is written by hand, and so mended by hand.
const BY_HAND: [(&str, &str, &str, &str); 2] = [
    (
        "sed -i 's/sandbox-fallback = false/sandbox-fallback = true/' /etc/nix/nix.conf",
        "sed -i 's/sandbox-fallback = true/sandbox-fallback = false/' /etc/nix/nix.conf",
        "nix.sandbox",
        "sandbox-fallback = false",
    ),
    (
        "mv /usr/share/polkit-1/rules.d/50-kennel.rules /srv/",
        "mv /srv/50-kennel.rules /usr/share/polkit-1/rules.d/",
        "systemd.polkit",
        "50-kennel.rules",
    ),
];

/// A healthy host has no failure; each thing that is broken is seen, and what is printed heals it.
pub(crate) fn sees_it_and_says_what_helps(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let project = kennel.project("doctor")?;
    let sources = kennel.sources().service("api", "1");
    let commit = project.push("main", &sources, "first")?.after;
    project.expect_build(&commit, "succeeded", LIMIT)?;
    kennel.expect_page(&project.address("api", "main"), "/", "1", LIMIT)?;
    kennel.wait_for("a host without failures", LIMIT, || {
        Ok(failures(&findings(kennel)?).is_empty().then_some(()))
    })?;
    // Only what the container or the lack of a network explains.
    let explained = ["host.cgroups", "host.clock", "nix.garbage", "network.dns", "host.disk"];
    for finding in of_mark(&findings(kennel)?, "warning") {
        ensure!(explained.contains(&finding.check.as_str()), "a warning of no reason: {finding:?}");
    }

    let deployments = project.deployments()?;
    let of = |key: &str| deployments.first().and_then(|it| it.get(key)).cloned();
    let id = of("id").context("the deployment has no id")?.to_string();
    let unit = of("unit").context("the deployment has no unit")?;
    let unit = unit.as_str().context("its unit is no text")?;
    let fill = |text: &str| text.replace("UNIT", unit).replace("ID", &id);

    for (break_it, mend_it, check, words) in BY_HAND {
        host.sh(break_it)?;
        let found = kennel.wait_for(check, LIMIT, || {
            Ok(findings(kennel)?.into_iter().find(|it| it.check == check && it.mark != "ok"))
        })?;
        ensure!(found.next.contains(words), "{check} does not say how to mend it: {found:?}");
        host.sh(mend_it)?;
        kennel.wait_for(&format!("{check} to be well"), LIMIT, || {
            let all = findings(kennel)?;
            Ok(all.iter().all(|it| it.check != check || it.mark == "ok").then_some(()))
        })?;
    }

    // The dispatcher would heal some of it by itself, a minute later.
    for (script, ..) in BROKEN {
        host.sh(&fill(script)).with_context(|| script.to_owned())?;
    }
    let seen = findings(kennel)?;
    for (script, check, words) in BROKEN {
        let words = fill(words);
        let found = seen.iter().find(|it| it.check == check && it.message.contains(&words));
        let found = found.with_context(|| format!("{check} does not see `{script}`: {seen:#?}"))?;
        ensure!(
            found.mark != "ok" && !found.command.is_empty(),
            "{check} has no remedy: {found:?}"
        );
    }
    // Some commands need what others bring back, the bus above all, and some show only logs.
    kennel.wait_for("a host that its own commands healed", LIMIT, || {
        let all = findings(kennel)?;
        let mut commands: Vec<_> = broken(&all).map(|it| it.command.clone()).collect();
        commands.dedup();
        for command in commands.iter().filter(|command| !command.is_empty()) {
            host.try_run(&["sh", "-c", command])?;
        }
        Ok(broken(&findings(kennel)?).next().is_none().then_some(()))
    })?;
    kennel.expect_page(&project.address("api", "main"), "/", "1", LIMIT)?;
    host.run(&["rm", "/run/systemd/system/kennel-teardown@987654321.timer"])?;
    project.delete_branch("main")
}

#[derive(Debug)]
struct Finding {
    check: String,
    mark: String,
    message: String,
    next: String,
    command: String,
}

fn findings(kennel: &Kennel) -> Result<Vec<Finding>> {
    let said = kennel.host().try_run(&["kennelctl", "doctor", "--json"])?;
    ensure!(said.stderr.is_empty(), "kennelctl doctor says {}", said.stderr);
    let answer: Value = serde_json::from_str(&said.stdout)?;
    let all = answer.get("findings").and_then(Value::as_array).context("no findings")?;
    let text =
        |it: &Value, key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all: Vec<_> = all
        .iter()
        .map(|it| Finding {
            check: text(it, "check"),
            mark: text(it, "mark"),
            message: text(it, "message"),
            next: text(it, "next"),
            command: text(it, "command"),
        })
        .collect();
    let failed = all.iter().any(|it| it.mark == "failure");
    ensure!(said.code == i32::from(failed), "exit code {} with {all:#?}", said.code);
    Ok(all)
}

fn of_mark<'a>(all: &'a [Finding], mark: &'a str) -> impl Iterator<Item = &'a Finding> {
    all.iter().filter(move |it| it.mark == mark && !OF_OTHERS.contains(&it.check.as_str()))
}

fn failures(all: &[Finding]) -> Vec<&Finding> {
    of_mark(all, "failure").collect()
}

/// What of the above is not healed.
fn broken(all: &[Finding]) -> impl Iterator<Item = &Finding> {
    all.iter().filter(|it| {
        let is_one = BROKEN.iter().any(|(_, check, _)| *check == it.check);
        it.mark == "failure" && !OF_OTHERS.contains(&it.check.as_str())
            || it.mark == "warning" && is_one
    })
}
