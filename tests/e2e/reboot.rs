//! The host goes down, in good order or by losing power, at rest and in the middle of work:
//! everything that served serves again without a push, and what was begun is finished.

use std::fs;

use kennel_tests::{
    Asked, Context, Kennel, LIMIT, Result, Sources, builders, ensure, expect_deployment,
    expect_no_leftovers,
};

/// Long enough to be met in the middle; it also tells this builder from others.
const BUILD_SECONDS: u32 = 6;

pub(crate) fn at_rest(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("rest")?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    let first = project.push("main", &sources("rest-1"), "one")?;
    project.expect_build(&first.after, "succeeded", LIMIT)?;
    // A second version, so that there is a retired deployment as well.
    project.push("main", &sources("rest-2"), "two")?;
    project.push("other", &sources("rest-other"), "other")?;
    let pages = [
        (project.address("api", "main"), "/version", "rest-2"),
        (project.address("web", "main"), "/", "rest-2"),
        (project.address("api", "other"), "/version", "rest-other"),
        (project.address("web", "other"), "/", "rest-other"),
    ];
    let expect_pages = || -> Result<()> {
        for (host, path, text) in &pages {
            kennel.expect_page(host, path, text, LIMIT)?;
        }
        Ok(())
    };
    expect_pages()?;
    let before = serving(kennel)?;

    kennel.host().reboot()?;
    expect_pages()?;
    ensure!(serving(kennel)? == before, "other deployments serve than before the reboot");
    ensure!(failed(kennel)?.is_empty(), "units failed at boot: {}", failed(kennel)?);

    // Losing power leaves no time to settle anything.
    kennel.host().kill()?;
    kennel.host().boot()?;
    expect_pages()?;
    ensure!(serving(kennel)? == before, "other deployments serve than before the power loss");

    // Restoring what is right already changes nothing: the services keep their processes. What
    // belongs to nobody goes, and what is not Kennel's stays.
    kennel.host().sh("cd /var/lib/kennel/sites; mkdir -p nobody/main rest/gone elsewhere/main
         ln -s /nix/store nobody/main/web; ln -s /nix/store rest/main/ghost
         ln -s /nix/store rest/gone/.web.new
         touch elsewhere/main/notes; ln -s /srv outside; touch notes")?;
    let processes = || kennel.host().run(&["pgrep", "-x", "api"]);
    let running = processes()?;
    let table = "/var/lib/kennel/routes/routes.json";
    let written = kennel.host().run(&["stat", "-c", "%i %Y", table])?;
    kennel.host().run(&["systemctl", "restart", "kennel-restore.service"])?;
    ensure!(processes()? == running, "restoring again started services anew");
    let again = kennel.host().run(&["stat", "-c", "%i %Y", table])?;
    ensure!(again == written, "restoring again wrote the route table");
    let named = "nobody rest/main/ghost rest/gone elsewhere/main/notes notes outside";
    let left = kennel.host().sh(&format!(
        "cd /var/lib/kennel/sites; ls -d {named} 2>/dev/null || true; rm -r elsewhere outside notes"
    ))?;
    let left: Vec<_> = left.lines().collect();
    ensure!(left == ["elsewhere/main/notes", "notes", "outside"], "what is left are {left:?}");
    expect_no_leftovers(kennel, "rest")?;
    Ok(())
}

/// There is a mistake in `config.toml` when the host boots: what served serves again, and what is
/// asked for waits.
pub(crate) fn with_a_broken_configuration(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("careless")?;
    let sources = |text: &str| kennel.sources().service("api", text).site("web", text);
    let first = project.push("main", &sources("careless-1"), "one")?;
    expect_deployment(kennel, &project, "api", &first.after, "active")?;
    expect_deployment(kennel, &project, "web", &first.after, "active")?;
    let page = |service: &str, path: &str, text: &str| {
        kennel.expect_page(&project.address(service, "main"), path, text, LIMIT).map(drop)
    };

    let config = kennel.host().root().join("etc/kennel/config.toml");
    let good = fs::read_to_string(&config)?;
    fs::write(&config, format!("{good}base_domian = \"other.test\"\n"))?;
    let broken = (|| {
        kennel.host().reboot()?;
        page("api", "/version", "careless-1")?;
        page("web", "/", "careless-1")?;
        let said = kennel.host().journal(&["-b", "-u", "kennel-restore.service"])?;
        for words in ["status=64", "config.toml:", "did you mean `base_domain`?", "used last"] {
            ensure!(said.contains(words), "it does not say {words:?}:\n{said}");
        }
        project.push("main", &sources("careless-2"), "two")?;
        let waiting = Asked::about(kennel, "careless")?;
        ensure!(waiting.last().is_some_and(|it| it.outcome.is_none()), "{waiting:?}");
        Ok(())
    })();
    // Whatever came of it, the other tests want the host as it was.
    fs::write(&config, &good)?;
    broken?;
    page("api", "/version", "careless-2")?;
    page("web", "/", "careless-2")?;
    kennel.wait_for("kennel-restore that has not failed", LIMIT, || {
        Ok(failed(kennel)?.is_empty().then_some(()))
    })
}

pub(crate) fn in_the_middle_of_a_build(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("midbuild")?;
    let api = project.address("api", "main");
    project.push("main", &kennel.sources().service("api", "midbuild-1"), "one")?;
    kennel.expect_page(&api, "/version", "midbuild-1", LIMIT)?;

    for (version, power_loss) in [("midbuild-2", false), ("midbuild-3", true)] {
        let slow = slowly(kennel.sources().service("api", version))?;
        let pushed = project.push("main", &slow, version)?;
        // The builder itself runs, so that Nix is in the middle.
        kennel.wait_for("builder that sleeps", LIMIT, || {
            Ok((!builders(kennel, BUILD_SECONDS)?.is_empty()).then_some(()))
        })?;
        go_down(kennel, power_loss)?;
        // The old one serves while the build runs again, by itself.
        kennel.expect_page(&api, "/version", "midbuild-", LIMIT)?;
        kennel.expect_page(&api, "/version", version, LIMIT)?;
        project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    }
    Ok(())
}

pub(crate) fn in_the_middle_of_a_deployment(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("middeploy")?;
    let api = project.address("api", "main");
    project.push("main", &kennel.sources().service("api", "middeploy-1"), "one")?;
    kennel.expect_page(&api, "/version", "middeploy-1", LIMIT)?;

    for (version, power_loss) in [("middeploy-2", false), ("middeploy-3", true)] {
        let conf = format!("version = {version}\nstart_delay_ms = 4000\n");
        project.push("main", &kennel.sources().service_with("api", &conf), version)?;
        // Its unit runs and does not listen yet, so that its deployment is in the middle.
        kennel.wait_for("unit that is not healthy yet", LIMIT, || {
            let units = kennel.host().run(&[
                "systemctl",
                "list-units",
                "--plain",
                "--no-legend",
                "--state=running",
                "kennel-middeploy-main-api@*",
            ])?;
            Ok((units.lines().count() == 2).then_some(()))
        })?;
        go_down(kennel, power_loss)?;
        kennel.expect_page(&api, "/version", "middeploy-", LIMIT)?;
        kennel.expect_page(&api, "/version", version, LIMIT)?;
    }
    // Only the newest is left once the drains are over.
    kennel.wait_for("end of the older deployments", LIMIT, || {
        let units =
            kennel.host().sh("ls /etc/systemd/system/ | grep -c '^kennel-middeploy-.*@'")?;
        Ok((units.trim() == "1").then_some(()))
    })
}

/// Down and up again: by losing power, or in good order.
fn go_down(kennel: &Kennel, power_loss: bool) -> Result<()> {
    if power_loss {
        kennel.host().kill()?;
    } else {
        kennel.host().poweroff()?;
    }
    kennel.host().boot().map(drop)
}

/// The same repository, whose service takes [`BUILD_SECONDS`] to build.
fn slowly(sources: Sources) -> Result<Sources> {
    let files = sources.files();
    let flake = files.get("flake.nix").context("the sample has no flake.nix")?;
    let flake = String::from_utf8(flake.bytes.clone())?;
    let slow = flake.replace("$bb mkdir", &format!("$bb sleep {BUILD_SECONDS}\n        $bb mkdir"));
    ensure!(slow != flake, "the sample flake makes no folder that could be waited for");
    Ok(sources.file("flake.nix", slow))
}

/// Which deployments serve, as `kennelctl` says.
fn serving(kennel: &Kennel) -> Result<Vec<String>> {
    let status = kennel.ctl(&["status"])?;
    let deployments = status.get("deployments").and_then(|list| list.as_array());
    let deployments = deployments.context("kennelctl status lists no deployments")?;
    Ok(deployments
        .iter()
        .filter(|deployment| deployment.get("state").is_some_and(|state| state == "active"))
        .map(|deployment| format!("{} {}", deployment["id"], deployment["commit"]))
        .collect())
}

fn failed(kennel: &Kennel) -> Result<String> {
    kennel.host().run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
}
