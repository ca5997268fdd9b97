//! Several services and sites under one domain, and domains that lead to another.

use kennel_tests::{Ask, Forge, Kennel, LIMIT, Result, ensure, expect_failure};

/// All hosts below a domain, but for those that somebody has for himself.
pub(crate) fn all_below_a_domain(kennel: &Kennel) -> Result<()> {
    let page = |host: &str, path: &str, text: &str| kennel.expect_page(host, path, text, LIMIT);
    let toml = "[services.api]\ncustom_domain = \"*.tenants.test\"\n[static_sites.web]\n\
                custom_domain = \"www.tenants.test\"\nredirect_from = [\"*.elsewhere.test\"]\n";
    let sources =
        kennel.sources().service("api", "tenants").site("web", "tenants").kennel_toml(toml);
    // The operator has not agreed.
    let unlisted = kennel.project("grabby")?;
    let pushed = unlisted.push("main", &sources, "all at once")?;
    let words = ["may not have the domain *.tenants.test", "under `domains` in grabby.toml"];
    expect_failure(kennel, &unlisted, "api", &pushed.after, &words)?;

    let domains = "domains = [\"*.tenants.test\", \"*.elsewhere.test\"]\n";
    let project = kennel.project_on(Forge::Forgejo, "tenants", domains)?;
    project.push("main", &sources, "a host for everybody")?;
    for host in ["anna.tenants.test", "berta.tenants.test"] {
        page(host, "/version", "tenants")?;
    }
    page("www.tenants.test", "/", "tenants")?;
    let sent = kennel.ask(&Ask::get("any.elsewhere.test", "/a"))?;
    ensure!(sent.header("location") == Some("http://www.tenants.test/a"), "{sent:?}");
    for none in ["tenants.test", "a.b.tenants.test"] {
        ensure!(kennel.get(none, "/version")?.status == 404, "{none} is served");
    }
    let shown = kennel.host().run(&["kennelctl", "status", "tenants"])?;
    ensure!(shown.contains("http://*.tenants.test"), "status says {shown}");

    // Another project has one of them only with the operator's consent.
    let toml = "[services.api]\ncustom_domain = \"carla.tenants.test\"\n";
    let sources = kennel.sources().service("api", "carla").kennel_toml(toml);
    let pushed = unlisted.push("main", &sources, "one of them")?;
    let words = ["carla.tenants.test is one of *.tenants.test", "tenants/main/api", "grabby.toml"];
    expect_failure(kennel, &unlisted, "api", &pushed.after, &words)?;
    page("carla.tenants.test", "/version", "tenants")?;
    let carla =
        kennel.project_on(Forge::Forgejo, "carla", "domains = [\"carla.tenants.test\"]\n")?;
    carla.push("main", &sources, "her own")?;
    page("carla.tenants.test", "/version", "carla")?;
    page("dora.tenants.test", "/version", "tenants")?;
    carla.delete_branch("main")?;
    page("carla.tenants.test", "/version", "tenants").map(drop)
}

pub(crate) fn several_under_one_domain(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("joined")?;
    let toml = "[services.api]\n[static_sites.web]\ncustom_domain = \"joined.test\"\n\
                redirect_from = [\"www.joined.test\"]\n";
    let routes = "[routes]\n\"/version\" = \"api\"\n\
                  \"/api\" = { to = \"api\", strip_prefix = true }\n";
    let sources = |version: &str, toml: &str| {
        kennel.sources().service("api", version).site("web", "joined").kennel_toml(toml)
    };
    project.push("main", &sources("one", &format!("{toml}{routes}")), "a site and its API")?;
    let page = |host: &str, path: &str, text: &str| kennel.expect_page(host, path, text, LIMIT);
    let own = project.address("web", "main");
    for host in [own.as_str(), "joined.test"] {
        page(host, "/", "joined")?;
        // The whole path is the service's, and what it does not begin with is the site's.
        page(host, "/version", "one")?;
        page(host, "/api/version", "one")?;
        let beside = kennel.get(host, "/apiary")?;
        ensure!(beside.header("sample-version").is_none(), "the API answers {beside:?}");
    }
    page(&project.address("api", "main"), "/version", "one")?;
    let sent = kennel.ask(&Ask::get("www.joined.test", "/a?b=c"))?;
    ensure!(sent.status == 308, "{sent:?}");
    ensure!(sent.header("location") == Some("http://joined.test/a?b=c"), "{sent:?}");

    // A new version of the API alone serves there, too; a preview has routes and no domain.
    project.push("main", &sources("two", &format!("{toml}{routes}")), "another API")?;
    page("joined.test", "/api/version", "two")?;
    project.push("next", &sources("next", &format!("{toml}{routes}")), "a preview")?;
    page(&project.address("web", "next"), "/api/version", "next")?;
    page("joined.test", "/api/version", "two")?;

    // What is not deployed is not answered by its neighbour.
    kennel.host().run(&["kennelctl", "teardown", "joined/next/api", "--yes"])?;
    let preview = project.address("web", "next");
    kennel.wait_for("the end of the preview's API", LIMIT, || {
        let answer = kennel.get(&preview, "/api/version")?;
        ensure!(matches!(answer.status, 200 | 503), "it answers {answer:?}");
        Ok((answer.status == 503).then_some(()))
    })?;
    page(&preview, "/", "joined")?;

    // A domain that nobody asks for any more is free, and one that somebody holds is not.
    let without = "[services.api]\n[static_sites.web]\ncustom_domain = \"joined.test\"\n";
    project.push("main", &sources("two", without), "no other domain, no routes")?;
    kennel.wait_for("the end of the other domain", LIMIT, || {
        Ok((kennel.get("www.joined.test", "/")?.status == 404).then_some(()))
    })?;
    ensure!(kennel.get("joined.test", "/version")?.status == 404, "a path still leads to the API");
    let thief = kennel.project("thief")?;
    let toml = "[static_sites.web]\ncustom_domain = \"www.joined.test\"\n\
                redirect_from = [\"joined.test\"]\n";
    let sources = kennel.sources().site("web", "thief").kennel_toml(toml);
    let pushed = thief.push("main", &sources, "a domain of another")?;
    let words = ["joined.test is taken by joined/main/web", "`redirect_from`"];
    expect_failure(kennel, &thief, "web", &pushed.after, &words)?;
    ensure!(kennel.get("www.joined.test", "/")?.status == 404, "half of it was given away");

    for branch in ["main", "next"] {
        project.delete_branch(branch)?;
    }
    kennel.wait_for("the end of all hosts", LIMIT, || {
        let answers = [kennel.get("joined.test", "/")?, kennel.get(&preview, "/")?];
        Ok(answers.iter().all(|answer| answer.status == 404).then_some(()))
    })?;
    Ok(())
}
