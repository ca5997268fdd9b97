//! What operators and authors get wrong: told where and why, and harmful to nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kennel_tests::{
    Asked, BuildRow, Context, Forge, Kennel, LIMIT, Project, Result, Rows, anyhow, ensure,
    expect_gone, expect_no_leftovers, expect_nothing_left,
};
use serde_json::Value;
use xtask::forge::Event;
use xtask::http::Ask;

use crate::hostile::{cursor, ring, said_since};

/// `kennelctl check` on a tree with every mistake that the operator can make.
pub(crate) fn check_explains_mistakes(kennel: &Kennel) -> Result<()> {
    let tree = kennel.host().root().join("srv/mistakes");
    let project = "repo_url = \"https://git.test/a.git\"\nforge = \"forgejo\"\n";
    let secret = "0123456789abcdef0123456789abcdef";
    let put = |path: &str, text: &str, mode: u32| -> Result<()> {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    };
    put("etc/systemd/system/here", "", 0o644)?;
    put("etc/kennel/config.toml", "base_domain = \"a.test\"\nmax_concurent_builds = 3\n", 0o644)?;
    let too_long = "a".repeat(33);
    for name in ["build", "Upper", "under_score", &too_long, "good", "missing"] {
        put(&format!("etc/kennel/projects.d/{name}.toml"), project, 0o644)?;
    }
    // A name with `/` is a folder.
    put("etc/kennel/projects.d/a/b.toml", project, 0o644)?;
    for name in ["empty", "open", "short", "large", "folder"] {
        put(&format!("etc/kennel/projects.d/{name}.toml"), project, 0o644)?;
    }
    put("etc/kennel/projects.d/badkey.toml", &format!("{project}brnches = [\"main\"]\n"), 0o644)?;
    put("etc/kennel/projects.d/badvalue.toml", "repo_url = \"ext::sh -c id\"\n", 0o644)?;
    for name in ["good", "badkey", "badvalue", "orphan"] {
        put(&format!("etc/kennel/webhook-secrets/{name}"), secret, 0o600)?;
    }
    put("etc/kennel/webhook-secrets/empty", "\n", 0o600)?;
    put("etc/kennel/webhook-secrets/open", secret, 0o644)?;
    put("etc/kennel/webhook-secrets/short", "hunter2", 0o600)?;
    put("etc/kennel/webhook-secrets/large", &"x".repeat(1_100_000), 0o600)?;
    put("etc/kennel/webhook-secrets/folder/secret", secret, 0o600)?;
    let secrets = tree.join("etc/kennel/webhook-secrets");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o700))?;

    let check = |tree: &Path| -> Result<String> {
        let below = format!("/{}", tree.strip_prefix(kennel.host().root())?.display());
        let said = kennel.host().try_run(&["kennelctl", "--root", &below, "check"])?;
        ensure!(said.stderr.is_empty(), "kennelctl says {}", said.stderr);
        Ok(format!("{}exit code {}\n", said.stdout.replace(&below, ""), said.code))
    };
    insta::assert_snapshot!("check_explains_mistakes", check(&tree)?);

    // And the configuration that all these tests run with is good.
    let said = kennel.host().try_run(&["kennelctl", "check"])?;
    ensure!(!said.stdout.contains("config.toml"), "it finds fault with our own: {}", said.stdout);
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// `kennel.toml` is wrong: the build says which line and why, and that is all that happens.
pub(crate) fn bad_manifests_fail_the_build(kennel: &Kennel) -> Result<()> {
    let cases = [
        ("malformed", "[services.api\nhealth_check = \"/\"\n"),
        ("empty", "# nothing yet\n"),
        ("unknown", "[services.api]\nhealth_chek = \"/\"\n"),
        ("percent", "[services.api]\nhealth_check = \"/%n\"\n"),
        ("newline", "[services.api]\nenv = { A = \"b\\nExecStartPre=/bin/id\" }\n"),
        ("dots", "[services.api]\nhealth_check = \"/a/../b\"\n"),
        ("name", "[services.\"../../etc/systemd/system/x\"]\n"),
        ("specifier", "[services.\"a%n\"]\n"),
        ("output", "[services.api]\nflake_output = \"api --impure\"\n"),
        ("quota", "[services.api]\nresources = { cpu_quota = \"100%\\nUser=root\" }\n"),
    ];
    let project = kennel.project("badtoml")?;
    let mut pushed = Vec::new();
    for (branch, text) in cases {
        let sources = kennel.sources().service("api", branch).kennel_toml(text);
        pushed.push((branch, project.push(branch, &sources, branch)?.after));
    }
    let missing = pushed_without_manifest(kennel, &project)?;
    pushed.push(("missing", missing));
    let mut reasons = String::new();
    for (branch, commit) in &pushed {
        let build = project.expect_build(commit, "failed", LIMIT)?;
        let reason = build.get("reason").and_then(Value::as_str).unwrap_or_default();
        let short = commit.get(..12).unwrap_or_default();
        reasons.push_str(&format!("── {branch}\n{}\n", reason.replace(short, "COMMIT")));
        // The same stands in the log that authors read.
        let id = build.get("id").context("the build has no number")?;
        let log = kennel.host().run(&["cat", &format!("/var/lib/kennel/logs/{id}/build.log")])?;
        let first = reason.lines().next().unwrap_or_default();
        ensure!(log.contains(first), "the log does not say {first:?}:\n{log}");
    }
    insta::assert_snapshot!("bad_manifests_fail_the_build", reasons);
    ensure!(Rows::read(kennel)?.of("badtoml").count() == 0, "something was deployed");
    expect_nothing_left(kennel, "badtoml")?;
    let units =
        kennel.host().sh("grep -l badtoml /etc/systemd/system/* /run/systemd/system/* || :")?;
    ensure!(units.is_empty(), "unit files speak of it: {units}");
    Ok(())
}

fn pushed_without_manifest(kennel: &Kennel, project: &Project) -> Result<String> {
    let sources = kennel.sources().service("api", "missing");
    let first = project.commit("missing", &sources, "with it")?;
    // The harness writes one where there is none, so git takes it out again.
    let git = format!("runuser -u kennel-build -- git -C {}", project.repository());
    let script = format!(
        "export HOME=/nonexistent GIT_INDEX_FILE=/tmp/badtoml-index \
           GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org \
           GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
         {git} read-tree {first}
         {git} rm --quiet --cached kennel.toml
         commit=$({git} commit-tree -p {first} -m without $({git} write-tree))
         {git} update-ref refs/heads/missing $commit
         rm -f /tmp/badtoml-index; echo $commit",
        first = first.after
    );
    let commit = kennel.host().sh(&script)?.trim().to_owned();
    let before = first.after;
    project.tell(&Event::Push { branch: "missing".into(), before, after: commit.clone() })?;
    Ok(commit)
}

/// A secret that is empty or missing lets nobody in, whatever they sign with.
pub(crate) fn without_a_secret_nobody_is_heard(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("unsecret")?;
    let file = kennel.host().root().join("etc/kennel/webhook-secrets/unsecret");
    let event = Event::Push {
        branch: "main".into(),
        before: kennel_tests::NO_COMMIT.into(),
        after: "b".repeat(40),
    };
    for content in [Some("\n"), Some(""), None] {
        match content {
            Some(text) => fs::write(&file, text)?,
            None => fs::remove_file(&file)?,
        }
        // The receiver that knew the old secret leaves first.
        kennel.wait_for("refusal of the old secret", LIMIT, || {
            let status = statuses(kennel, "unsecret", &event, project.secret().as_bytes())?;
            Ok((status == [401]).then_some(()))
        })?;
        for key in [&b""[..], b"\n"] {
            let status = statuses(kennel, "unsecret", &event, key)?;
            ensure!(status == [401], "signed with {key:?} it answers {status:?}");
        }
    }
    let said = kennel.host().journal(&["-t", "kennel-webhook"])?;
    for word in
        ["the webhook secret of unsecret is empty", "has no webhook secret; is there one in"]
    {
        ensure!(said.contains(word), "the receiver does not say {word:?}:\n{said}");
    }
    let asked = Asked::about(kennel, "unsecret")?;
    // Some came before the receiver knew.
    ensure!(asked.iter().all(|it| it.kind == "push"), "{asked:?}");
    let check = kennel.host().try_run(&["kennelctl", "check"])?;
    ensure!(
        check.code == 64 && check.stdout.contains("webhook-secrets/unsecret"),
        "kennelctl check does not see it: {check:?}"
    );
    Ok(())
}

fn statuses(kennel: &Kennel, name: &str, event: &Event, secret: &[u8]) -> Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for delivery in Forge::Forgejo.deliveries(name, event)? {
        let path = format!("/webhook/{name}");
        let mut ask = Ask::post(&kennel.control_host(), &path, delivery.body().to_vec());
        for (header, value) in delivery.headers(secret) {
            ask = ask.header(&header, &value);
        }
        statuses.push(kennel.ask(&ask)?.status);
    }
    Ok(statuses)
}

/// One file that systemd cannot hand over keeps all secrets from the receiver: it is told where,
/// not started without end, and heals with the file's removal.
pub(crate) fn a_large_secret_spins_nothing(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("oversized")?;
    let file = kennel.host().root().join("etc/kennel/webhook-secrets/oversized-backup");
    let event = Event::Ping;
    fs::write(&file, vec![b'x'; 2_000_000])?;
    let seen = with_large_secret(kennel, &project);
    // The other tests want their webhooks heard.
    fs::remove_file(&file)?;
    seen?;
    kennel.wait_for("receiver that hears again", LIMIT, || project.tell(&event).map(Some))?;
    Ok(())
}

fn with_large_secret(kennel: &Kennel, project: &Project) -> Result<()> {
    let unit = "kennel-webhook.service";
    let show = |property: &str| -> Result<String> {
        let said = kennel.host().run(&["systemctl", "show", "--value", "-p", property, unit])?;
        Ok(said.trim().to_owned())
    };
    // The receiver that knew the secrets of before leaves first; then a forge comes and waits.
    kennel.wait_for("receiver that cannot start", LIMIT, || {
        let answer = project.deliver(&Event::Ping);
        let restarts: u32 = show("NRestarts")?.parse()?;
        if restarts > 0 { Ok(Some(())) } else { Err(anyhow!("it answers {answer:?}")) }
    })?;
    let (begun, before) = (Instant::now(), show("NRestarts")?.parse::<u64>()?);
    kennel.wait_for("three more starts", LIMIT, || {
        Ok((show("NRestarts")?.parse::<u64>()? >= before + 3).then_some(()))
    })?;
    let took = begun.elapsed();
    ensure!(took > Duration::from_secs(3), "it started three times in {took:?}");
    // Not while it is being started once more.
    kennel.wait_for("status that says why", LIMIT, || {
        let status = kennel.host().try_run(&["systemctl", "status", "--no-pager", unit])?;
        let says_why = status.stdout.contains("243/CREDENTIALS");
        if says_why { Ok(Some(())) } else { Err(anyhow!("it says\n{}", status.stdout)) }
    })?;
    let check = kennel.host().try_run(&["kennelctl", "check"])?;
    let says = "webhook-secrets/oversized-backup has 2000000 bytes, and with it systemd hands over";
    ensure!(check.code == 64 && check.stdout.contains(says), "kennelctl check says {check:?}");
    Ok(())
}

/// A mistake in config.toml: what serves goes on, pushes are kept, nothing spins; once it is
/// repaired, everything is done that was asked for meanwhile.
pub(crate) fn a_broken_host_waits_for_its_repair(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("patient")?;
    let web = project.address("web", "main");
    project.push("main", &kennel.sources().site("web", "before"), "before")?;
    kennel.expect_page(&web, "/", "before", LIMIT)?;
    kennel.wait_for("dispatcher at rest", LIMIT, || {
        Ok((state_of_dispatcher(kennel)? == "inactive").then_some(()))
    })?;

    let file = kennel.host().root().join("etc/kennel/config.toml");
    let good = fs::read_to_string(&file)?;
    fs::write(&file, format!("{good}max_concurent_builds = 3\n"))?;
    let repaired = with_broken_config(kennel, &project, &good).and_then(|()| {
        kennel.expect_page(&web, "/", "before", LIMIT)?;
        Ok(())
    });
    // Whatever came of it, the other tests want the host as it was.
    fs::write(&file, &good)?;
    repaired?;
    kennel.expect_page(&web, "/", "after", LIMIT)?;
    kennel.wait_for("dispatcher that does not fail", LIMIT, || {
        Ok((state_of_dispatcher(kennel)? != "failed").then_some(()))
    })?;
    Ok(())
}

fn with_broken_config(kennel: &Kennel, project: &Project, good: &str) -> Result<()> {
    let cursor = cursor(kennel)?;
    let pushes = 5;
    for push in 1..=pushes {
        let text = if push == pushes { "after".to_owned() } else { format!("between {push}") };
        project.push("main", &kennel.sources().site("web", &text), &text)?;
    }
    let line = good.lines().count() + 1;
    // Its timer starts it now and then, and it has failed again a moment later.
    kennel.wait_for("dispatcher that has failed and says why", LIMIT, || {
        kennel.host().run(&["journalctl", "--sync"])?;
        let show = ["systemctl", "status", "--no-pager", "kennel-dispatch"];
        let status = kennel.host().try_run(&show)?;
        for word in [
            "failed (Result: exit-code)",
            "status=64",
            &format!("/etc/kennel/config.toml:{line}: unknown key `max_concurent_builds`"),
            "did you mean `max_concurrent_builds`?",
        ] {
            ensure!(status.stdout.contains(word), "it does not say {word}:\n{}", status.stdout);
        }
        Ok(Some(()))
    })?;
    let waiting = Asked::about(kennel, project.name())?;
    ensure!(
        waiting.last().is_some_and(|it| it.outcome.is_none()),
        "somebody took a push: {waiting:?}"
    );

    // The bell is heard and the timer goes on; one start for each of them, and one to spare.
    let bell = kennel.host().run(&["systemctl", "is-active", "kennel-dispatch.socket"])?;
    ensure!(bell.trim() == "active", "the bell is {bell}");
    let starts =
        said_since(kennel, &cursor, "kennel-dispatch", "the configuration cannot be used")?;
    ensure!((1..=pushes + 3).contains(&starts), "it started {starts} times for {pushes} pushes");
    Ok(())
}

/// A mistake in one project's file: its pushes wait, in their order, and nobody else's do.
pub(crate) fn a_broken_project_waits_for_its_repair(kennel: &Kennel) -> Result<()> {
    let (project, other) = (kennel.project("mended")?, kennel.project("beside-mended")?);
    let web = project.address("web", "main");
    let sources = |text: &str| kennel.sources().site("web", text);
    project.push("main", &sources("before"), "before")?;
    kennel.expect_page(&web, "/", "before", LIMIT)?;

    let file = kennel.host().root().join("etc/kennel/projects.d/mended.toml");
    let good = fs::read_to_string(&file)?;
    fs::write(&file, format!("{good}brnches = [\"main\"]\n"))?;
    let since = cursor(kennel)?;
    project.push("main", &sources("after"), "after")?;
    project.push("brief", &sources("brief"), "brief")?;
    project.delete_branch("brief")?;
    // Behind them in the inbox, so that theirs were looked at.
    other.push("main", &sources("beside"), "beside")?;
    kennel.expect_page(&other.address("web", "main"), "/", "beside", LIMIT)?;
    let outcomes = || -> Result<Vec<bool>> {
        let asked = Asked::about(kennel, "mended")?;
        Ok(asked.iter().map(|it| it.outcome.is_some()).collect())
    };
    ensure!(outcomes()? == [true, false, false, false], "{:?}", Asked::about(kennel, "mended")?);
    kennel.expect_page(&web, "/", "before", LIMIT)?;
    let line = good.lines().count() + 1;
    let says = format!(
        "pushes of mended wait until its file is repaired: \
         /etc/kennel/projects.d/mended.toml:{line}: unknown key `brnches`"
    );
    kennel.wait_for("word of the mistake", LIMIT, || {
        let said = said_since(kennel, &since, "kennel-dispatch", &says)?;
        Ok((said > 0).then_some(()))
    })?;

    fs::write(&file, &good)?;
    kennel.expect_page(&web, "/", "after", LIMIT)?;
    expect_gone(kennel, &project, "refs/heads/brief")?;
    ensure!(outcomes()? == [true; 4], "{:?}", Asked::about(kennel, "mended")?);
    Ok(())
}

/// A build and a deployment whose units were started just before the mistake: each waits, says for
/// what, and is done after the repair. Rings without end do not make the dispatcher spin meanwhile.
pub(crate) fn started_jobs_wait_for_a_repair(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("halted")?;
    let config = kennel.host().root().join("etc/kennel/config.toml");
    let good = fs::read_to_string(&config)?;
    for job in ["build", "deploy"] {
        // The unit is started, and its program is not until the file is gone.
        kennel.host().sh(&format!(
            "mkdir -p /run/systemd/system/kennel-{job}@.service.d; touch /run/hold-{job}
             printf '[Service]\\nExecCondition=/bin/sh -c \"while [ -e /run/hold-{job} ]; do sleep 0.05; done\"\\n' \
               > /run/systemd/system/kennel-{job}@.service.d/hold.conf
             systemctl daemon-reload"
        ))?;
    }
    let seen = halted_twice(kennel, &project, &config, &good);
    // Whatever came of it, the other tests want the host as it was.
    fs::write(&config, &good)?;
    kennel.host().sh("rm -rf /run/hold-* /run/systemd/system/kennel-build@.service.d \
           /run/systemd/system/kennel-deploy@.service.d; systemctl daemon-reload")?;
    seen?;
    let build = BuildRow::of(kennel, "halted")?.pop().context("the build has no row")?;
    ensure!(build.state == "succeeded" && build.reason.is_none(), "the build is {build:?}");
    let rows = expect_no_leftovers(kennel, "halted")?;
    let deployment = rows.of("halted").last().context("it has no deployment")?;
    ensure!(deployment.reason.is_none(), "the deployment is {deployment:?}");
    Ok(())
}

fn halted_twice(kennel: &Kennel, project: &Project, config: &Path, good: &str) -> Result<()> {
    let line = good.lines().count() + 1;
    let broken = format!("{good}drain = 3\n");
    let says = format!("/etc/kennel/config.toml:{line}: unknown key `drain`");
    let pushed = project.push("main", &kennel.sources().site("web", "after all"), "halted")?.after;
    let build = kennel.wait_for("build that is held", LIMIT, || held(kennel, "build"))?;
    fs::write(config, &broken)?;
    kennel.host().run(&["rm", "/run/hold-build"])?;
    let row = kennel.wait_for("build that waits", LIMIT, || {
        let row = BuildRow::of(kennel, "halted")?.pop().context("no build")?;
        if row.state == "queued" && row.reason.is_some() {
            Ok(Some(row))
        } else {
            Err(anyhow!("{row:?}"))
        }
    })?;
    let reason = row.reason.unwrap_or_default();
    ensure!(reason.contains(&says) && reason.contains("waits until"), "it says {reason:?}");
    let shown = kennel.host().run(&["kennelctl", "build", &build])?;
    ensure!(shown.contains(&says), "kennelctl build does not say why:\n{shown}");
    kennel.wait_for("dispatcher that has failed", LIMIT, || {
        Ok((state_of_dispatcher(kennel)? == "failed").then_some(()))
    })?;

    // Three seconds of rings, each of which nobody can answer.
    let since = cursor(kennel)?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        ring(kennel, 500, 1_000)?;
    }
    let took = begun.elapsed().as_secs();
    let starts = said_since(kennel, &since, "kennel-dispatch", "the configuration cannot be used")?;
    ensure!((1..=took + 2).contains(&starts), "it started {starts} times in {took} s");

    fs::write(config, good)?;
    project.expect_build(&pushed, "succeeded", LIMIT)?;
    let id = kennel.wait_for("deployment that is held", LIMIT, || held(kennel, "deploy"))?;
    fs::write(config, &broken)?;
    kennel.host().run(&["rm", "/run/hold-deploy"])?;
    let row = kennel.wait_for("deployment that waits", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let row = rows.at("halted", "web", &pushed).context("no deployment")?.clone();
        if row.reason.is_some() { Ok(Some(row)) } else { Err(anyhow!("{row:?}")) }
    })?;
    let reason = row.reason.clone().unwrap_or_default();
    ensure!(row.state == "pending" && reason.contains(&says), "deployment {id} is {row:?}");
    let shown = kennel.host().run(&["kennelctl", "status", "halted", "--json"])?;
    ensure!(shown.contains(&says), "kennelctl status does not say why:\n{shown}");
    fs::write(config, good)?;
    kennel.expect_page(&project.address("web", "main"), "/", "after all", LIMIT)?;
    Ok(())
}

/// The number of the job whose unit has been started and whose program has not.
fn held(kennel: &Kennel, job: &str) -> Result<Option<String>> {
    let pattern = format!("kennel-{job}@*");
    let list =
        ["systemctl", "list-units", "--plain", "--no-legend", "--state=activating", &pattern];
    let listed = kennel.host().run(&list)?;
    let unit = listed.split_whitespace().next();
    Ok(unit.and_then(|unit| Some(unit.split_once('@')?.1.strip_suffix(".service")?.to_owned())))
}

fn state_of_dispatcher(kennel: &Kennel) -> Result<String> {
    let said = kennel.host().try_run(&["systemctl", "is-active", "kennel-dispatch.service"])?;
    Ok(said.stdout.trim().to_owned())
}
