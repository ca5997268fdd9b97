//! Three outputs, one of which cannot be built: the other two are deployed all the same.

use kennel_tests::{
    Kennel, LIMIT, Project, Pushed, Result, Sources, ensure, expect_deployment, expect_no_leftovers,
};

const NOT_WRITTEN: &str = "the manual is not written yet";

const NO_STYLE: &str = "no style sheet for the second version";

pub(crate) fn two_of_three_are_deployed(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("three")?;
    let sources = |version: &str| {
        kennel.sources().service("api", version).site("web", version).site("docs", version)
    };
    let expect = |name: &str, path: &str, version: &str| {
        kennel.expect_page(&project.address(name, "main"), path, version, LIMIT)
    };

    // One cannot be evaluated: nothing of it serves, since nothing of it ever did.
    let broken = format!("{{ ... }}: throw \"{NOT_WRITTEN}\"\n");
    let first = sources("one").file("sites/docs/recipe.nix", broken);
    let first = project.push("main", &first, "No manual yet")?;
    expect_partial(kennel, &project, &first, "docs", NOT_WRITTEN)?;
    expect("api", "/version", "one")?;
    expect("web", "/", "one")?;
    let docs = kennel.get(&project.address("docs", "main"), "/")?;
    ensure!(docs.status == 404, "the output that does not evaluate answers {}", docs.status);

    // Then another one cannot be built: what it was before keeps serving, and the third one comes.
    let broken = format!("{{ ... }}: \"$bb mkdir $out; echo {NO_STYLE} >&2; exit 3\"\n");
    let second: Sources = sources("two").file("sites/web/recipe.nix", broken);
    let second = project.push("main", &second, "A manual")?;
    expect_partial(kennel, &project, &second, "web", NO_STYLE)?;
    expect("docs", "/", "two")?;
    expect("api", "/version", "two")?;
    expect("web", "/", "one")?;

    let rows = expect_no_leftovers(kennel, project.name())?;
    let mut active: Vec<_> = rows
        .of(project.name())
        .filter(|it| it.state == "active")
        .map(|it| (it.service.as_str(), it.commit.as_str()))
        .collect();
    active.sort_unstable();
    let (first, second) = (first.after.as_str(), second.after.as_str());
    ensure!(active == [("api", second), ("docs", second), ("web", first)], "{active:?} serve");
    ensure!(
        rows.at(project.name(), "docs", first).is_none()
            && rows.at(project.name(), "web", second).is_none(),
        "there is a deployment of what was not built: {rows:?}"
    );
    Ok(())
}

/// The build is partial, because of this one output and for this reason, wherever one looks.
fn expect_partial(
    kennel: &Kennel,
    project: &Project,
    pushed: &Pushed,
    failed: &str,
    why: &str,
) -> Result<()> {
    let build = project.expect_build(&pushed.after, "partial", LIMIT)?;
    let of = |name: &str, key: &str| -> String {
        let outputs = build.get("outputs").and_then(|it| it.as_array()).into_iter().flatten();
        let mut outputs = outputs.filter(|it| it.get("name").is_some_and(|it| it == name));
        let value = outputs.next().and_then(|it| it.get(key)?.as_str());
        value.unwrap_or_default().to_owned()
    };
    for name in ["api", "web", "docs"] {
        let wanted = if name == failed { "failed" } else { "built" };
        ensure!(of(name, "state") == wanted, "{name} is not {wanted}: {build}");
        if name != failed {
            expect_deployment(kennel, project, name, &pushed.after, "active")?;
        }
    }
    ensure!(of(failed, "reason").contains(why), "the output does not say why: {build}");
    let reason = build.get("reason").and_then(|it| it.as_str()).unwrap_or_default();
    ensure!(
        reason.starts_with(&format!("1 of 3 outputs failed: {failed}")) && reason.contains(why),
        "the build does not say why: {build}"
    );

    let id = build.get("id").map(ToString::to_string).unwrap_or_default();
    let host = kennel.host();
    let told = host.run(&["kennelctl", "build", &id])?;
    for word in ["succeeded in part", failed, why] {
        ensure!(told.contains(word), "kennelctl build does not say {word}:\n{told}");
    }
    let log = host.run(&["cat", &format!("/var/lib/kennel/logs/{id}/{failed}.log")])?;
    ensure!(log.contains(why), "its log does not say why:\n{log}");
    let unit = format!("kennel-build@{id}.service");
    let journal = host.journal(&["-u", &unit])?;
    ensure!(journal.contains(why), "the build's journal does not say why:\n{journal}");
    Ok(())
}
