//! A service that stops answering, and what its visitors and its operator see of that.

use std::time::Duration;

use kennel_tests::{Ask, Context, Kennel, LIMIT, Result, bail, ensure};
use serde_json::Value;

/// How long the service refuses connections: three looks take ten seconds, as soon as somebody asks in
/// vain.
const DEAF_MS: u64 = 25_000;

pub(crate) fn of_a_service_that_stops_answering(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("ailing")?;
    let sources = kennel.sources().service("api", "ailing-1");
    project.push("main", &sources, "a service")?;
    let address = project.address("api", "main");
    kennel.expect_page(&address, "/version", "ailing-1", LIMIT)?;
    let well = seen(kennel)?;
    ensure!(text(&well, "/health") == "healthy", "{well}");

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
    ensure!(text(&out, "/health") == "unhealthy", "{out}");
    let detail = text(&out, "/health_detail");
    let says = ["the router passes no requests to it since", "nothing listened on its port"];
    ensure!(says.iter().all(|words| detail.contains(words)), "{out}");
    ensure!(number(&out, "/monitor/strikes") >= 3, "{out}");

    kennel.expect_page(&address, "/version", "ailing-1", Duration::from_millis(DEAF_MS) + LIMIT)?;
    let back = seen(kennel)?;
    let is_back = back.pointer("/monitor/out_since").is_some_and(Value::is_null);
    ensure!(text(&back, "/health") == "healthy" && is_back, "{back}");
    let journal = kennel.host().run(&[
        "journalctl",
        "--unit=kennel-router",
        "--output=cat",
        "KENNEL_PROJECT=ailing",
        "KENNEL_SERVICE=api",
    ])?;
    let changes: Vec<&str> =
        journal.lines().filter(|line| line.contains("ailing/main/api")).collect();
    let [taken_out, brought_back] = changes.as_slice() else { bail!("{journal}") };
    ensure!(taken_out.contains("is unhealthy and gets no more requests"), "{taken_out}");
    ensure!(brought_back.contains("is healthy and gets requests again"), "{brought_back}");

    figures(kennel, refused)
}

/// All of it has been counted.
fn figures(kennel: &Kennel, refused: u32) -> Result<()> {
    let host = kennel.host();
    let shown = host.run(&["kennelctl", "top", "ailing", "--once"])?;
    ensure!(shown.contains("ailing/main/api  healthy"), "{shown}");
    let top: Value = serde_json::from_str(&host.run(&["kennelctl", "top", "ailing", "--json"])?)?;
    let errors = number(&top, "/routes/0/server_errors");
    ensure!(errors >= u64::from(refused) && number(&top, "/routes/0/requests") > errors, "{top}");
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
        r#"kennel_router_service_healthy{project="ailing",branch="main",service="api"} 1"#;
    for (whence, figures) in [("the socket", metrics), ("the control host", told.text())] {
        ensure!(figures.lines().any(|line| line == healthy), "{whence} says {figures}");
    }
    host.run(&["kennelctl", "token", "revoke", "scraper"])?;
    Ok(())
}

/// The service in `kennelctl status --json`.
fn seen(kennel: &Kennel) -> Result<Value> {
    let shown = kennel.host().run(&["kennelctl", "status", "ailing", "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    shown.pointer("/deployments/0").cloned().context("it is not there")
}

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}
