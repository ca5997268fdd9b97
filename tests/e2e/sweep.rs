//! Expiry: what keeps a branch, and what becomes of one that nothing keeps. Retention: what of the past
//! is forgotten.

use kennel_tests::{
    Asked, Connection, Context, Forge, HeadRepository, Kennel, LIMIT, PullRequest,
    PullRequestAction, Result, Rows, anyhow, bail, ensure, expect_gone, expect_no_leftovers,
};
use serde_json::Value;

/// With the default branch under another name, one that nobody may remove, and strangers.
const SETTINGS: &str = "default_branch = \"trunk\"\npull_requests = \"all\"\n";
const KEPT: &str = "[expire_branches]\n\"release/*\" = \"never\"\n";

/// Visits, pushes and people keep a branch; a fork's goes all the same, and the default branch never.
pub(crate) fn ends_what_nobody_uses(kennel: &Kennel) -> Result<()> {
    let project = kennel.project_on(Forge::Forgejo, "forgotten", &format!("{SETTINGS}{KEPT}"))?;
    let site = |text: &str| kennel.sources().site("web", text);
    for branch in ["trunk", "release/1", "visited", "wished", "unused"] {
        project.push(branch, &site("page"), branch)?;
    }
    let head = project.commit("elsewhere", &site("theirs"), "theirs")?.after;
    let pull = PullRequest {
        number: 4,
        head,
        head_branch: "fix".to_owned(),
        head_repository: HeadRepository::Fork,
        base_branch: "trunk".to_owned(),
    };
    project.pull_request(&pull, PullRequestAction::Opened)?;
    kennel.wait_for("six branches that serve", LIMIT, || {
        let rows = Rows::read(kennel)?;
        let active = rows.of("forgotten").filter(|it| it.state == "active").count();
        if active == 6 { Ok(Some(())) } else { Err(anyhow!("{active} serve")) }
    })?;

    // Nobody has visited any of them.
    let before = Ends::read(kennel)?;
    ensure!(before.of("trunk").is_none(), "the default branch expires");
    ensure!(before.of("release/1").is_none(), "what never expires does");
    kennel.wait_for("branch that a visit keeps", LIMIT, || {
        for slug in ["visited", "pr-4"] {
            kennel.get(&project.address("web", slug), "/")?;
        }
        sweep(kennel)?;
        let now = Ends::read(kennel)?;
        Ok((now.of("visited") > before.of("visited")).then_some(()))
    })?;
    let visited = Ends::read(kennel)?;
    for branch in ["pr-4", "unused", "wished"] {
        let (now, then) = (visited.of(branch), before.of(branch));
        ensure!(now.is_some() && now == then, "{branch} moved from {then:?} to {now:?}");
    }
    ensure!(visited.of("pr-4") < visited.of("unused"), "a fork's stays as long as others");

    let said = kennel.host().run(&["kennelctl", "extend", "forgotten/wished", "--by", "3d"])?;
    ensure!(said.contains("forgotten/wished expires in 9 days"), "it says {said}");
    let refused = kennel.host().try_run(&["kennelctl", "extend", "forgotten/trunk"])?;
    ensure!(refused.code == 1 && refused.stderr.contains("never expires"), "it says {refused:?}");
    let wishes = kennel.ctl(&["audit", "forgotten", "--action", "extend"])?;
    ensure!(wishes.as_array().is_some_and(|it| it.len() == 2), "the audit has {wishes}");
    // A sweep that looked before the last push, or the last visit.
    told_too_early(kennel, &["refs/heads/visited", "refs/heads/trunk"])?;
    sweep(kennel)?;
    let active = Rows::read(kennel)?.of("forgotten").filter(|it| it.state == "active").count();
    ensure!(active == 6, "{active} of six serve after a sweep");

    settle(kennel, &format!("{SETTINGS}expire_after = \"1s\"\n{KEPT}"))?;
    for git_ref in ["refs/heads/visited", "refs/heads/unused", "refs/pull/4/head"] {
        kennel.wait_for("branch that has expired", LIMIT, || {
            sweep(kennel)?;
            let rows = Rows::read(kennel)?;
            let mut own = rows.of("forgotten").filter(|it| it.git_ref == git_ref);
            Ok(own.all(|it| it.state != "active").then_some(()))
        })?;
        let rows = expect_gone(kennel, &project, git_ref)?;
        let mut own = rows.of("forgotten").filter(|it| it.git_ref == git_ref);
        let is_expired = |reason: &str| reason.starts_with("it expired: ");
        ensure!(own.all(|it| it.reason.as_deref().is_some_and(is_expired)), "{git_ref} says else");
    }
    for slug in ["trunk", "wished"] {
        kennel.expect_page(&project.address("web", slug), "/", "page", LIMIT)?;
    }
    let rows = expect_no_leftovers(kennel, "forgotten")?;
    let active = rows.of("forgotten").filter(|it| it.state == "active").count();
    ensure!(active == 3, "{active} of three serve");

    // What has expired comes back with a push, or by hand.
    settle(kennel, &format!("{SETTINGS}{KEPT}"))?;
    kennel.host().run(&["kennelctl", "redeploy", "forgotten/visited", "--rebuild"])?;
    kennel.expect_page(&project.address("web", "visited"), "/", "page", LIMIT)?;
    project.push("unused", &site("again"), "again")?;
    kennel.expect_page(&project.address("web", "unused"), "/", "again", LIMIT)?;
    Ok(())
}

/// What is long over goes with its logs; what serves, what can be gone back to and what the next push
/// is compared with stays.
pub(crate) fn forgets_what_is_long_over(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("past")?;
    let site = |text: &str| kennel.sources().site("web", text);
    let push = |branch: &str, text: &str| -> Result<()> {
        let commit = project.push(branch, &site(text), text)?.after;
        project.expect_build(&commit, "succeeded", LIMIT)?;
        kennel.expect_page(&project.address("web", branch), "/", text, LIMIT).map(drop)
    };
    push("main", "one")?;
    let broken = kennel.sources().kennel_toml("[static_sites.web]\nwrong = 1\n");
    let broken = project.push("main", &broken, "broken")?.after;
    project.expect_build(&broken, "failed", LIMIT)?;
    push("main", "two")?;
    push("gone", "here")?;
    project.delete_branch("gone")?;
    expect_gone(kennel, &project, "refs/heads/gone")?;
    let other = kennel.project("abandoned")?;
    other.push("main", &site("theirs"), "theirs")?;
    kennel.expect_page(&other.address("web", "main"), "/", "theirs", LIMIT)?;
    kennel.host().run(&["kennelctl", "teardown", "abandoned/main", "--yes"])?;
    expect_gone(kennel, &other, "refs/heads/main")?;
    kennel.host().run(&["rm", "/etc/kennel/projects.d/abandoned.toml"])?;

    // Nothing of it is old.
    let before = builds(kennel, "past")?;
    sweep_and_tidy(kennel)?;
    let [one, broken, two, gone] = before[..] else { bail!("the builds are {before:?}") };
    ensure!(builds(kennel, "past")? == before, "builds of {before:?} went at once");
    for name in ["past", "abandoned"] {
        ensure!(has(kennel, "repos", &format!("{name}.git"))?, "the mirror of {name} went at once");
        make_old(kennel, name)?;
    }
    sweep_and_tidy(kennel)?;
    let after = builds(kennel, "past")?;
    ensure!(after == [one, two], "of {before:?} there are still {after:?}");
    for (id, is_there) in [(one, true), (broken, false), (two, true), (gone, false)] {
        let logs = has(kennel, "logs", &id.to_string())?;
        ensure!(logs == is_there, "the logs of build {id} are there: {logs}");
    }
    for folder in ["cache/abandoned", "repos/abandoned.git"] {
        let (folder, name) = folder.split_once('/').context("no folder")?;
        ensure!(!has(kennel, folder, name)?, "{folder}/{name} outlives its project");
    }
    ensure!(builds(kennel, "abandoned")?.is_empty(), "builds outlive their project");
    let told = Asked::about(kennel, "past")?;
    ensure!(told.len() == 1, "the inbox has {told:?}");

    // And nothing was forgotten that is still needed.
    expect_no_leftovers(kennel, "past")?;
    kennel.host().run(&["kennelctl", "rollback", "past/main/web"])?;
    kennel.expect_page(&project.address("web", "main"), "/", "one", LIMIT)?;
    kennel.host().run(&["kennelctl", "redeploy", "past/main", "--rebuild"])?;
    kennel.expect_page(&project.address("web", "main"), "/", "two", LIMIT)?;
    push("gone", "again")?;
    push("main", "three")
}

/// The numbers of a project's builds, oldest first.
fn builds(kennel: &Kennel, project: &str) -> Result<Vec<i64>> {
    let rows = Rows::read(kennel)?;
    Ok(rows.builds.iter().filter(|it| it.project == project).map(|it| it.id).collect())
}

/// Whether there is something of this name in a folder of Kennel's.
fn has(kennel: &Kennel, folder: &str, name: &str) -> Result<bool> {
    let path = format!("/var/lib/kennel/{folder}/{name}");
    Ok(kennel.host().try_run(&["test", "-e", &path])?.code == 0)
}

fn sweep_and_tidy(kennel: &Kennel) -> Result<()> {
    sweep(kennel)?;
    kennel.host().run(&["systemctl", "start", "kennel-tidy.service"]).map(drop)
}

/// Has everything of a project that is over have ended 31 days ago.
fn make_old(kennel: &Kennel, project: &str) -> Result<()> {
    const DAYS: i64 = 31 * 24 * 3600 * 1000;
    for (file, table, column) in [
        ("inbox/inbox.db", "events", "consumed_at"),
        ("builds/builds.db", "builds", "finished_at"),
        ("state/state.db", "deployments", "ended_at"),
    ] {
        let path = kennel.host().root().join("var/lib/kennel").join(file);
        let database = Connection::open(path)?;
        database.busy_timeout(LIMIT)?;
        let sql = format!("UPDATE {table} SET {column} = {column} - ?1 WHERE project = ?2");
        database.execute(&sql, (DAYS, project))?;
    }
    Ok(())
}

fn sweep(kennel: &Kennel) -> Result<()> {
    kennel.host().run(&["systemctl", "start", "kennel-sweep.service"]).map(drop)
}

/// Tells the inbox that branches have expired, and waits until the dispatcher has seen better.
fn told_too_early(kennel: &Kennel, refs: &[&str]) -> Result<()> {
    let inbox = Connection::open(kennel.host().root().join("var/lib/kennel/inbox/inbox.db"))?;
    inbox.busy_timeout(LIMIT)?;
    for git_ref in refs {
        inbox.execute(
            "INSERT INTO events (received_at, project, kind, git_ref) VALUES (0, 'forgotten', 'expired', ?1)",
            [git_ref],
        )?;
    }
    kennel.host().run(&["systemctl", "start", "kennel-dispatch.service"])?;
    kennel.wait_for("answers to what was told too early", LIMIT, || {
        let told = Asked::about(kennel, "forgotten")?;
        let told: Vec<_> = told.iter().filter(|it| it.kind == "expired").collect();
        let ignored = told.iter().filter(|it| {
            it.outcome.as_deref().is_some_and(|it| it.contains("does not expire yet"))
        });
        if ignored.count() == refs.len() { Ok(Some(())) } else { Err(anyhow!("it has {told:?}")) }
    })
}

/// Replaces the project's settings.
fn settle(kennel: &Kennel, settings: &str) -> Result<()> {
    let path = "etc/kennel/projects.d/forgotten.toml";
    let text = format!("repo_url = \"file:///srv/git/forgotten.git\"\n{settings}");
    kennel.host().write(path, text)
}

/// When branches expire, as `kennelctl status` says it.
struct Ends(Value);

impl Ends {
    fn read(kennel: &Kennel) -> Result<Self> {
        Ok(Self(kennel.ctl(&["status", "forgotten", "--no-probe"])?))
    }

    fn of(&self, branch: &str) -> Option<&str> {
        let mut lines = self.0.get("deployments")?.as_array()?.iter();
        let line = lines.find(|it| it.get("branch").is_some_and(|it| it == branch))?;
        line.get("expires_at")?.as_str()
    }
}
