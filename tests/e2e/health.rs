//! A service that stops answering, and what its visitors and its operator see of that.

use std::time::Duration;

use kennel_tests::{Ask, Kennel, LIMIT, Result, bail, ensure};
use serde_json::Value;

/// How long the service refuses connections: three looks take ten seconds, as soon as somebody asks in
/// vain.
const DEAF_MS: u64 = 25_000;

pub(crate) fn of_a_service_that_stops_answering(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("unwell")?;
    let sources = kennel.sources().service("api", "unwell-1");
    project.push("main", &sources, "a service")?;
    let address = project.address("api", "main");
    kennel.expect_page(&address, "/version", "unwell-1", LIMIT)?;
    ensure!(seen(kennel)?["health"] == "healthy", "{}", seen(kennel)?);

    kennel.get(&address, &format!("/deaf?ms={DEAF_MS}"))?;
    let mut refused = 0;
    kennel.wait_for("end of the requests to it", LIMIT, || {
        let answer = kennel.get(&address, "/version")?;
        refused += u32::from(answer.status == 503);
        let is_said = answer.text().contains("does not pass its health check");
        Ok((answer.status == 404 && is_said).then_some(()))
    })?;
    ensure!(refused > 0, "it was taken out before anybody was refused");
    let out = seen(kennel)?;
    ensure!(out["health"] == "unhealthy", "{out}");
    let detail = out["health_detail"].as_str().unwrap_or_default();
    let says = ["the router passes no requests to it since", "nothing listened on its port"];
    ensure!(says.iter().all(|words| detail.contains(words)), "{out}");
    ensure!(out["monitor"]["strikes"].as_u64() >= Some(3), "{out}");

    kennel.expect_page(&address, "/version", "unwell-1", Duration::from_millis(DEAF_MS) + LIMIT)?;
    let back = seen(kennel)?;
    ensure!(back["health"] == "healthy" && back["monitor"]["out_since"].is_null(), "{back}");
    let journal = kennel.host().run(&[
        "journalctl",
        "--unit=kennel-router",
        "--output=cat",
        "KENNEL_PROJECT=unwell",
        "KENNEL_SERVICE=api",
    ])?;
    let changes: Vec<&str> =
        journal.lines().filter(|line| line.contains("unwell/main/api")).collect();
    let [taken_out, brought_back] = changes[..] else { bail!("{journal}") };
    ensure!(taken_out.contains("is unhealthy and gets no more requests"), "{taken_out}");
    ensure!(brought_back.contains("is healthy and gets requests again"), "{brought_back}");

    figures(kennel, refused)
}

/// All of it has been counted.
fn figures(kennel: &Kennel, refused: u32) -> Result<()> {
    let host = kennel.host();
    let shown = host.run(&["kennelctl", "top", "unwell", "--once"])?;
    ensure!(shown.contains("unwell/main/api  healthy"), "{shown}");
    let top: Value = serde_json::from_str(&host.run(&["kennelctl", "top", "unwell", "--json"])?)?;
    let route = &top["routes"][0];
    ensure!(route["server_errors"].as_u64() >= Some(refused.into()), "{top}");
    ensure!(route["requests"].as_u64() > route["server_errors"].as_u64(), "{top}");
    let metrics = host.run(&[
        "curl",
        "--silent",
        "--unix-socket",
        "/run/kennel/router.sock",
        "http://router/metrics",
    ])?;
    // From elsewhere with a token made for that, and not without.
    let make = ["kennelctl", "token", "create", "scraper", "--may", "metrics"];
    let token = host.run(&make)?;
    let ask = Ask::get(&kennel.control_host(), "/metrics");
    ensure!(kennel.ask(&ask)?.status == 401, "figures are told to anybody");
    let told = kennel.ask(&ask.header("Authorization", &format!("Bearer {}", token.trim())))?;
    let healthy =
        r#"kennel_router_service_healthy{project="unwell",branch="main",service="api"} 1"#;
    for (whence, text) in [("the socket", metrics), ("the control host", told.text())] {
        ensure!(text.lines().any(|line| line == healthy), "{whence} says {text}");
    }
    host.run(&["kennelctl", "token", "revoke", "scraper"])?;
    Ok(())
}

/// The service in `kennelctl status --json`.
fn seen(kennel: &Kennel) -> Result<Value> {
    let shown = kennel.host().run(&["kennelctl", "status", "unwell", "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    Ok(shown["deployments"][0].clone())
}
