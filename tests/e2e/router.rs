//! What the operator decides of the router, and what a service takes of requests.

use kennel_tests::{Ask, Context, Kennel, LIMIT, Result, Settings, ensure};
use serde_json::Value;

pub(crate) fn writes_an_access_log(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("logged")?;
    project.push("main", &kennel.sources().service("api", "logged-1"), "a service")?;
    let host = project.address("api", "main");
    kennel.expect_page(&host, "/version", "logged-1", LIMIT)?;
    ensure!(kennel.get(&host, "/version")?.header("x-request-id").is_none(), "it has an id");

    let settings = Settings::with(
        kennel,
        "\n[router]\naccess_log = \"all\"\nrequest_id = true\nserver_timing = true\n\
         trusted_proxies = [\"127.0.0.0/8\"]\n",
    )?;
    let ask = Ask::get(&host, "/version?token=s3cret").header("x-forwarded-for", "203.0.113.5");
    let id = kennel.wait_for("an answer with an id", LIMIT, || {
        let answer = kennel.ask(&ask)?;
        let Some(id) = answer.header("x-request-id") else { return Ok(None) };
        let timing = answer.header("server-timing").context("there is no Server-Timing")?;
        ensure!(timing.contains("service;dur="), "it took {timing}");
        Ok(Some(format!("REQUEST_ID={id}")))
    })?;
    let entry = kennel.wait_for("the request in the journal", LIMIT, || {
        let look = ["journalctl", "-q", "-u", "kennel-router", "-o", "json", &id];
        Ok(kennel.host().run(&look)?.lines().next().map(str::to_owned))
    })?;
    ensure!(!entry.contains("s3cret"), "the query is in the journal: {entry}");
    let entry: Value = serde_json::from_str(&entry)?;
    for (field, value) in [
        ("KENNEL_PROJECT", "logged"),
        ("KENNEL_BRANCH", "main"),
        ("KENNEL_SERVICE", "api"),
        ("HTTP_METHOD", "GET"),
        ("HTTP_HOST", host.as_str()),
        ("HTTP_PATH", "/version"),
        ("HTTP_STATUS", "200"),
        ("CLIENT", "203.0.113.5"),
        ("_SYSTEMD_UNIT", "kennel-router.service"),
    ] {
        ensure!(entry.get(field).and_then(Value::as_str) == Some(value), "{field} of {entry}");
    }
    let shown = ["kennelctl", "logs", "logged/main/api", "--requests", "--", "-o", "cat", &id];
    let shown = kennel.host().run(&shown)?;
    ensure!(shown.starts_with(&format!("GET {host}/version 200 ")), "it shows {shown}");

    drop(settings);
    kennel.wait_for("an answer without an id", LIMIT, || {
        Ok(kennel.ask(&ask)?.header("x-request-id").is_none().then_some(()))
    })?;
    project.delete_branch("main")
}

pub(crate) fn limits_requests(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("measured")?;
    let toml = "[services.api]\nmax_body = \"1K\"\n\
                rate_limit = { requests = 50, per = \"1h\" }\n[services.open]\n";
    let sources = kennel.sources().service("api", "few").service("open", "many").kennel_toml(toml);
    project.push("main", &sources, "a service with limits, and one without")?;
    let (api, open) = (project.address("api", "main"), project.address("open", "main"));
    kennel.expect_page(&open, "/version", "many", LIMIT)?;
    kennel.wait_for("the service with limits", LIMIT, || {
        // Not more often than it is let.
        let answer = kennel.get(&open, "/version").and_then(|_| kennel.get(&api, "/version"))?;
        Ok((answer.status == 200).then_some(()))
    })?;
    let post = |host: &str, bytes: usize| -> Result<u16> {
        Ok(kennel.ask(&Ask::post(host, "/version", vec![b'x'; bytes]))?.status)
    };
    ensure!(post(&api, 1025)? == 413, "it takes what is too long");
    ensure!(post(&api, 1024)? != 413, "it does not take what it may");
    ensure!(post(&open, 100_000)? != 413, "the other one has a limit");

    let limited = (0..60).find_map(|_| match kennel.get(&api, "/version") {
        Ok(answer) if answer.status == 200 => None,
        other => Some(other),
    });
    let limited = limited.context("60 requests were answered")??;
    ensure!(limited.status == 429, "it answers {limited:?}");
    let again: u64 = limited.header("retry-after").context("it does not say when")?.parse()?;
    ensure!((1..=72).contains(&again), "there is room in {again} s");
    ensure!(kennel.get(&open, "/version")?.status == 200, "the other one is limited, too");
    project.delete_branch("main")
}
