//! `kennelctl doctor`: everything that Kennel needs of its host, looked at.
//!
//! Changes nothing, and asks only what an ordinary user of the host could ask. Whatever is broken,
//! databases, D-Bus or the configuration itself, is one finding and stops no other check; whatever
//! hangs is given up after a while.

mod accounts;
mod certificates;
mod command;
mod configuration;
mod databases;
mod deployments;
mod disk;
mod dns;
mod facts;
mod finding;
mod forges;
mod listeners;
mod machine;
mod nix;
mod permissions;
mod polkit;
mod ports;
mod preview_databases;
mod report;
mod router;
mod rows;
mod say;
mod secrets;
mod stored;
mod systemd;
mod tmpfiles;
mod units;
mod webhook;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use self::facts::Facts;
pub(crate) use self::finding::{Finding, Mark, Next};
use self::report::json;
pub(crate) use self::report::{each, render};
use crate::args::DoctorArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;

/// Longer than anything that a healthy host is asked for takes, shorter than people wait.
const LIMIT: Duration = Duration::from_secs(10);

/// Looks at everything, prints what was found, and ends with 1 if something failed.
pub(crate) fn run(host: &Host, args: &DoctorArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let findings = runtime.block_on(examine(host));
    // A thread that hangs on a dead file system must not keep the answer.
    runtime.shutdown_background();
    if args.json {
        host.terminal.json(&json(&findings))?;
    } else {
        host.terminal.print(&render(&findings, host.terminal))?;
    }
    let failed = findings.iter().any(|finding| finding.mark == Mark::Failure);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What of deployments does not match their rows, but for what could not be looked at.
pub(crate) async fn mismatches(host: &Host) -> Vec<Finding> {
    let facts = Arc::new(Facts::gather(host).await);
    let mut findings = rows::check(Arc::clone(&facts)).await;
    findings.extend(stored::check(facts).await);
    findings.retain(|finding| !matches!(finding.mark, Mark::Ok));
    findings
}

/// All checks, side by side, in the order of the report.
async fn examine(host: &Host) -> Vec<Finding> {
    let facts = Arc::new(Facts::gather(host).await);
    let blocking = |check: &'static str, look: fn(&Facts) -> Vec<Finding>| {
        let facts = Arc::clone(&facts);
        // The limit holds although the thread cannot be ended.
        let thread = tokio::task::spawn_blocking(move || look(&facts));
        (check, tokio::spawn(limited(check, async { thread.await.ok() })))
    };
    let mut checks = vec![
        blocking("configuration", configuration::check),
        blocking("permissions", permissions::check),
        blocking("databases.inbox", databases::inbox),
        blocking("databases.builds", databases::builds),
        blocking("databases.state", databases::state),
    ];
    if facts.host.is_live {
        checks.extend([
            blocking("databases.preview", preview_databases::check),
            asking("databases.preview", &facts, stored::check),
            asking("systemd", &facts, systemd::check),
            asking("systemd.polkit", &facts, polkit::check),
            asking("nix", &facts, nix::check),
            blocking("host.disk", disk::check),
            asking("host", &facts, machine::check),
            blocking("network.ports", ports::check),
            asking("network.dns", &facts, dns::check),
            blocking("network.certificates", certificates::check),
            blocking("network.forges", forges::check),
            asking("router", &facts, router::check),
            asking("router.webhook", &facts, webhook::check),
            asking("deployments.health", &facts, deployments::check),
        ]);
    }
    checks.push(blocking("deployments.secrets", secrets::check));
    checks.push(asking("deployments", &facts, rows::check));
    let mut findings = Vec::new();
    for (check, running) in checks {
        // A check that panicked has said so on standard error, and is a finding as well.
        findings.extend(running.await.unwrap_or_else(|_| vec![say::broke(check)]));
    }
    if !facts.host.is_live {
        findings.push(say::only_files());
    }
    findings
}

fn asking<F: Future<Output = Vec<Finding>> + Send + 'static>(
    check: &'static str,
    facts: &Arc<Facts>,
    ask: fn(Arc<Facts>) -> F,
) -> (&'static str, JoinHandle<Vec<Finding>>) {
    let asked = ask(Arc::clone(facts));
    (check, tokio::spawn(limited(check, async { Some(asked.await) })))
}

async fn limited(
    check: &'static str,
    looking: impl Future<Output = Option<Vec<Finding>>>,
) -> Vec<Finding> {
    match tokio::time::timeout(LIMIT, looking).await {
        Ok(Some(findings)) => findings,
        Ok(None) => vec![say::broke(check)],
        Err(_) => vec![say::hangs(check, LIMIT)],
    }
}

#[cfg(test)]
mod tests;
