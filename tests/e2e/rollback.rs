//! `kennelctl rollback`: back to what served before, while nothing can be fetched or built.

use kennel_tests::{
    Context, Deployment, Kennel, LIMIT, Project, Result, Rows, anyhow, ensure, expect_no_leftovers,
    say_figures,
};
use serde_json::Value;

/// How long Kennel may take from the wish's row to traffic, for a service that starts at once.
const MOST_MILLIS: i64 = 2000;

/// Back twice, forward by number, and forward by a push; for a service and a site.
pub(crate) fn without_nix_and_forge(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("back")?;
    let (api, web) = (project.address("api", "main"), project.address("web", "main"));
    for version in ["v1", "v2", "v3"] {
        let sources = kennel.sources().service("api", version).site("web", version);
        project.push("main", &sources, version)?;
        kennel.expect_page(&api, "/version", version, LIMIT)?;
        kennel.expect_page(&web, "/", version, LIMIT)?;
    }
    {
        let _away = Away::take(kennel, &project)?;
        let load = kennel.load(&api, 20)?;
        let said = kennel.host().run(&["kennelctl", "rollback", "back/main/api"])?;
        ensure!(said.contains("back/main/api serves at "), "it says {said}");
        // No patience here, nor below: it said that it serves.
        expect(kennel, &api, "/version", "v2")?;
        expect(kennel, &web, "/", "v3")?;
        kennel.host().run(&["kennelctl", "rollback", "back/main/web"])?;
        expect(kennel, &web, "/", "v2")?;
        kennel.host().run(&["kennelctl", "rollback", "back/main/api"])?;
        expect(kennel, &api, "/version", "v1")?;
        load.stop()?.expect_clean()?;

        let refused = kennel.host().try_run(&["kennelctl", "rollback", "back/main/api"])?;
        let way = "nothing is kept of back/main/api from before what serves now; `--to` may name ";
        ensure!(refused.code == 1 && refused.stderr.contains(way), "it says {refused:?}");
        let rows = Rows::read(kennel)?;
        let is_pushed = |it: &&Deployment| it.service == "api" && it.rollback_to.is_none();
        let newest = rows.of("back").filter(is_pushed).last().context("nothing was pushed")?;
        let newest = newest.id.to_string();
        ensure!(refused.stderr.contains(&newest), "{newest} is not named in {refused:?}");
        kennel.host().run(&["kennelctl", "rollback", "back/main/api", "--to", &newest])?;
        expect(kennel, &api, "/version", "v3")?;
    }
    let rows = Rows::read(kennel)?;
    let back = rows.of("back").filter(|it| it.rollback_to.is_some());
    let took: Vec<i64> = back.filter_map(|it| Some(it.active_at? - it.created_at)).collect();
    say_figures(&format!("milliseconds from a rollback's row to traffic: {took:?}"));
    ensure!(took.len() == 4, "there are {} rollbacks", took.len());
    ensure!(took.iter().all(|millis| *millis < MOST_MILLIS), "they took {took:?} ms");

    project.push("main", &kennel.sources().service("api", "v4").site("web", "v4"), "v4")?;
    kennel.expect_page(&api, "/version", "v4", LIMIT)?;
    kennel.expect_page(&web, "/", "v4", LIMIT)?;
    let builds = kennel.ctl(&["builds", "back/main"])?;
    ensure!(builds.as_array().is_some_and(|it| it.len() == 4), "something was built: {builds}");
    expect_no_leftovers(kennel, "back")?;
    Ok(())
}

/// Of what is pushed while a branch is pinned the newest is held, and deployed afterwards.
pub(crate) fn pinned(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("pinned")?;
    let web = project.address("web", "main");
    let push = |text: &str| project.push("main", &kennel.sources().site("web", text), text);
    for text in ["one", "two"] {
        push(text)?;
        kennel.expect_page(&web, "/", text, LIMIT)?;
    }
    kennel.host().run(&["kennelctl", "pin", "pinned/main/web"])?;
    for text in ["three", "four"] {
        let commit = push(text)?.after;
        project.expect_build(&commit, "succeeded", LIMIT)?;
        expect_held(kennel, &commit)?;
    }
    // One that the pinned version has not any more is held as well, and so is its end.
    let gone = push_without_web(kennel, &project)?;
    project.expect_build(&gone, "succeeded", LIMIT)?;
    expect(kennel, &web, "/", "two")?;
    let refused = kennel.host().try_run(&["kennelctl", "redeploy", "pinned/main/web"])?;
    ensure!(refused.code == 1, "a pinned site is deployed again: {refused:?}");

    kennel.host().run(&["kennelctl", "rollback", "pinned/main/web"])?;
    expect(kennel, &web, "/", "one")?;
    let five = push("five")?.after;
    expect_held(kennel, &five)?;
    expect(kennel, &web, "/", "one")?;
    let said = kennel.host().run(&["kennelctl", "unpin", "pinned/main"])?;
    ensure!(said.contains("pinned/main is not pinned any more: deployment "), "it says {said}");
    kennel.expect_page(&web, "/", "five", LIMIT)?;
    push("six")?;
    kennel.expect_page(&web, "/", "six", LIMIT)?;

    let audit = kennel.ctl(&["audit", "pinned", "--action", "pin,unpin,roll_back"])?;
    let actions = audit.as_array().context("no audit")?.iter().filter_map(|it| it.get("action"));
    let actions: Vec<_> = actions.filter_map(Value::as_str).collect();
    ensure!(actions == ["unpin", "roll_back", "pin"], "the audit has {audit}");

    kennel.host().run(&["kennelctl", "pin", "pinned/main"])?;
    kennel.host().run(&["kennelctl", "teardown", "pinned/main", "--yes"])?;
    let status = kennel.ctl(&["status", "pinned"])?;
    let pins = status.get("pins").and_then(Value::as_array).context("no pins")?;
    ensure!(pins.is_empty(), "a pin outlives its branch: {status}");
    push("seven")?;
    kennel.expect_page(&web, "/", "seven", LIMIT)?;
    Ok(())
}

fn push_without_web(kennel: &Kennel, project: &Project) -> Result<String> {
    let sources = kennel.sources().site("other", "other");
    let commit = project.push("main", &sources, "without web")?.after;
    kennel.expect_page(&project.address("other", "main"), "/", "other", LIMIT)?;
    Ok(commit)
}

/// The site's version of this commit waits, and `two` serves.
fn expect_held(kennel: &Kennel, commit: &str) -> Result<()> {
    kennel.wait_for("held deployment", LIMIT, || {
        let status = kennel.ctl(&["status", "pinned"])?;
        let all = status.get("deployments").and_then(Value::as_array).context("no status")?;
        let held: Vec<_> =
            all.iter().filter(|it| it.get("held") == Some(&Value::Bool(true))).collect();
        let is_it = |it: &Value| {
            it.get("commit").is_some_and(|it| it == commit)
                && it.get("reason").is_some_and(|it| it.to_string().contains("kennelctl unpin"))
        };
        match held.as_slice() {
            [one] if is_it(one) => Ok(Some(())),
            _ => Err(anyhow!("held are {held:?}")),
        }
    })
}

fn expect(kennel: &Kennel, host: &str, path: &str, text: &str) -> Result<()> {
    let answer = kennel.get(host, path)?;
    let (status, body) = (answer.status, answer.text());
    ensure!(status == 200 && body.contains(text), "{host}{path} answers {status} {body}");
    Ok(())
}

/// No Nix daemon and no repository, until this is dropped.
struct Away<'a> {
    kennel: &'a Kennel,
    repository: String,
}

const NIX: [&str; 2] = ["nix-daemon.socket", "nix-daemon.service"];

impl<'a> Away<'a> {
    fn take(kennel: &'a Kennel, project: &Project) -> Result<Self> {
        let repository = project.repository();
        let away = Self { kennel, repository };
        kennel.host().run(&["systemctl", "stop", NIX[0], NIX[1]])?;
        kennel.host().run(&["mv", &away.repository, &format!("{}.away", away.repository)])?;
        Ok(away)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let back = format!("{}.away", self.repository);
        let _ = self.kennel.host().run(&["mv", &back, &self.repository]);
        let _ = self.kennel.host().run(&["systemctl", "start", NIX[0]]);
    }
}
