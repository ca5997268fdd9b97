//! `kennelctl reconcile`: the host is made to match the rows.
//!
//! Repairs nothing itself: `kennel-restore.service` does, as at boot. What is wrong is looked at before
//! and after.

use std::time::{Duration, Instant};

use kennel_systemd::Manager;
use serde_json::json;

use crate::args::ReconcileArgs;
use crate::doctor::{self, Finding, Mark, Next};
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;

/// Which does it.
const UNIT: &str = "kennel-restore.service";

/// How long what was started may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks, has it repaired, and looks again.
pub(crate) fn run(host: &Host, args: &ReconcileArgs) -> Result<Exit, Failure> {
    // First of all, since what may not be read is nothing that does not match.
    host.state()?;
    if !host.is_live && !args.dry_run {
        return Err(Failure::NotRunning);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let found = runtime.block_on(doctor::mismatches(host));
    let left = if args.dry_run {
        found.clone()
    } else {
        runtime
            .block_on(async { Manager::connect().await?.start(UNIT).await })
            .map_err(Failure::Restore)?;
        runtime.block_on(settled(host))
    };
    let repaired: Vec<_> = found.iter().filter(|it| !left.contains(it)).cloned().collect();
    if args.json {
        host.terminal.json(&json!({
            "ok": !has_failed(&left),
            "repaired": doctor::each(&repaired),
            "left": doctor::each(&left),
        }))?;
    } else {
        for finding in &repaired {
            host.terminal.line(&say::repaired(&finding.sentence))?;
        }
        if !left.is_empty() {
            host.terminal.print(&doctor::render(&left, host.terminal))?;
        }
        host.terminal.line(&say::reconciled(repaired.len(), left.len(), args.dry_run))?;
    }
    Ok(if has_failed(&left) { Exit::Failed } else { Exit::Done })
}

/// What is wrong once what was started has come up.
async fn settled(host: &Host) -> Vec<Finding> {
    let begun = Instant::now();
    loop {
        // Each look that finds something takes a second.
        let left = doctor::mismatches(host).await;
        let may_go = left.iter().any(|finding| matches!(finding.next, Some(Next::Run(_))));
        if !may_go || begun.elapsed() > PATIENCE {
            return left;
        }
    }
}

fn has_failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.mark == Mark::Failure)
}
