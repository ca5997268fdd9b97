//! Who may come in: maintenance, and a password before previews.

use std::fs;

use kennel_tests::{Answer, Ask, Context, Kennel, LIMIT, Result, ensure};
use serde_json::Value;

pub(crate) fn closed_until_it_is_opened(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("closed")?;
    let toml = "[services.api]\n[static_sites.web]\ncustom_domain = \"closed.test\"\n\
                redirect_from = [\"www.closed.test\"]\n[routes]\n\
                \"/api\" = { to = \"api\", strip_prefix = true }\n";
    let sources = |version: &str| {
        kennel.sources().service("api", version).site("web", version).kennel_toml(toml)
    };
    let (main, next) = (project.address("web", "main"), project.address("web", "next"));
    let api = project.address("api", "main");
    for branch in ["main", "next"] {
        project.push(branch, &sources("one"), branch)?;
    }
    kennel.expect_page("closed.test", "/", "one", LIMIT)?;
    kennel.expect_page("closed.test", "/api/version", "one", LIMIT)?;
    kennel.expect_page(&next, "/", "one", LIMIT)?;
    let ctl = |argv: &[&str]| kennel.host().run(&[&["kennelctl", "maintenance"], argv].concat());
    let closed = |host: &str, path: &str| -> Result<Answer> {
        let answer = kennel.get(host, path)?;
        ensure!(answer.status == 503, "{host}{path} answers {answer:?}");
        Ok(answer)
    };

    ctl(&["on", "closed/main", "--message", "Back at 18:00", "--retry-after", "30m"])?;
    // No patience here, nor below: it said that it is so.
    for host in [main.as_str(), "closed.test", "www.closed.test", &api] {
        let answer = closed(host, "/")?;
        ensure!(answer.header("retry-after") == Some("1800"), "{answer:?}");
        ensure!(answer.text().contains("Back at 18:00"), "{}", answer.text());
    }
    ensure!(kennel.get(&next, "/")?.status == 200, "a preview is closed with production");
    // Kennel's own host is nobody's to close, and so what is pushed is deployed.
    let pushed = project.push("main", &sources("two"), "behind closed doors")?;
    project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    kennel.wait_for("a deployment behind closed doors", LIMIT, || {
        let serves = |it: &Value| {
            it.get("commit").is_some_and(|it| *it == pushed.after.as_str())
                && it.get("state").is_some_and(|it| it == "active")
        };
        let status = kennel.ctl(&["status", "closed/main", "--no-probe"])?;
        let all = status.get("deployments").and_then(Value::as_array).context("no status")?;
        Ok((all.iter().filter(|it| serves(it)).count() == 2).then_some(()))
    })?;
    closed("closed.test", "/")?;
    kennel.host().run(&["systemctl", "restart", "kennel-router.service"])?;
    closed("closed.test", "/")?;
    let status = kennel.ctl(&["status", "closed", "--no-probe"])?;
    let shown = status.pointer("/maintenance/0/message");
    ensure!(shown.is_some_and(|it| it == "Back at 18:00"), "it shows {status}");
    ctl(&["off", "closed/main"])?;
    ensure!(kennel.get("closed.test", "/")?.text().contains("two"), "it is not open again");

    ctl(&["on", "closed/main/api"])?;
    closed(&api, "/version")?;
    closed("closed.test", "/api/version")?;
    ensure!(kennel.get("closed.test", "/")?.status == 200, "the site is closed with its API");
    let refused = kennel.host().try_run(&["kennelctl", "maintenance", "on", "closed/nowhere"])?;
    ensure!(refused.code == 3, "what is not there is closed: {refused:?}");
    ctl(&["off", "closed"])?;
    ensure!(kennel.get(&api, "/version")?.status == 200, "it is not open again");

    let audit = kennel.ctl(&["audit", "closed", "--action", "maintenance_on,maintenance_off"])?;
    let actions = audit.as_array().context("no audit")?.iter().filter_map(|it| it.get("action"));
    let actions: Vec<_> = actions.filter_map(Value::as_str).collect();
    let expected = ["maintenance_off", "maintenance_on", "maintenance_off", "maintenance_on"];
    ensure!(actions == expected, "the audit has {audit}");
    Ok(())
}

pub(crate) fn previews_ask_for_a_password(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("asking")?;
    for branch in ["main", "next"] {
        project.push(branch, &kennel.sources().service("api", branch), branch)?;
    }
    let (main, next) = (project.address("api", "main"), project.address("api", "next"));
    kennel.expect_page(&main, "/version", "main", LIMIT)?;
    kennel.expect_page(&next, "/version", "next", LIMIT)?;

    let file = kennel.host().root().join("etc/kennel/projects.d/asking.toml");
    let before = fs::read_to_string(&file)?;
    let hash = |password: &str| -> Result<String> {
        let command = format!("printf %s '{password}' | kennelctl password-hash");
        Ok(kennel.host().run(&["sh", "-c", &command])?.trim().to_owned())
    };
    let answers = |fields: &[(&str, &str)], status: u16| {
        let mut ask = Ask::get(&next, "/version");
        for (name, value) in fields {
            ask = ask.header(name, value);
        }
        kennel.wait_for("another answer of the preview", LIMIT, || {
            Ok((kennel.ask(&ask)?.status == status).then_some(()))
        })
    };
    fs::write(&file, format!("{before}[previews]\npassword = \"{}\"\n", hash("secret")?))?;
    answers(&[], 401)?;
    ensure!(kennel.get(&main, "/version")?.status == 200, "production asks for a password");
    let form = Ask::post(&next, "/.kennel/login", "to=/version&password=secret");
    let welcome = kennel.ask(&form)?;
    ensure!(welcome.status == 303, "{welcome:?}");
    ensure!(welcome.header("location") == Some("/version"), "{welcome:?}");
    let cookie = welcome.header("set-cookie").context("no cookie")?;
    let cookie = cookie.split(';').next().unwrap_or_default();
    answers(&[("cookie", cookie)], 200)?;
    answers(&[("authorization", "Bearer secret")], 200)?;
    // What a visitor showed is nowhere that others read.
    let mode = ["stat", "-c", "%a %U:%G", "/var/lib/kennel/logins/logins.json"];
    let mode = kennel.host().run(&mode)?;
    ensure!(mode.trim() == "640 root:kennel-router", "passwords are {mode}");
    let table = fs::read_to_string(kennel.host().root().join("var/lib/kennel/routes/routes.json"))?;
    ensure!(!table.contains("argon2"), "the route table has a hash");

    // A mistake opens nothing, and neither does a deployment or a restart meanwhile.
    fs::write(&file, format!("{before}[preview]\npassword = \"{}\"\n", hash("secret")?))?;
    kennel.host().run(&["systemctl", "start", "kennel-routes.service"])?;
    kennel.host().run(&["systemctl", "restart", "kennel-router.service"])?;
    answers(&[], 401)?;
    answers(&[("cookie", cookie)], 200)?;
    // Another password ends all sessions.
    fs::write(&file, format!("{before}[previews]\npassword = \"{}\"\n", hash("other")?))?;
    answers(&[("cookie", cookie)], 401)?;
    answers(&[("authorization", "Bearer other")], 200)?;
    // Addresses come first: who asks here comes from 127.0.0.1.
    fs::write(&file, format!("{before}[previews]\nallow_from = [\"10.0.0.0/8\"]\n"))?;
    answers(&[("authorization", "Bearer other")], 403)?;
    fs::write(&file, &before)?;
    answers(&[], 200)?;
    Ok(())
}
