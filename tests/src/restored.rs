//! What a reboot takes away of a deployment, and `kennelctl reconcile` brings back.

use crate::{Deployment, Kennel, Result, ensure, expect_no_leftovers};

/// Takes its units, the last of which is active while it serves, and its environment away, and wants
/// all of it back.
///
/// # Errors
/// When the last one is not told of, or not active again, or the host is not as its rows say.
pub fn expect_restored(kennel: &Kennel, it: &Deployment, units: &[String]) -> Result<()> {
    let Deployment { project, slug, service, .. } = it;
    let lasting = units.last().map(String::as_str).unwrap_or_default();
    kennel.host().run(&["systemctl", "stop", lasting])?;
    kennel.host().sh(&format!(
        "cd /etc/systemd/system && rm {} /run/kennel/secrets/{project}-{slug}-{service}@*",
        units.join(" ")
    ))?;
    let said = kennel.host().run(&["kennelctl", "reconcile"])?;
    ensure!(said.contains(lasting), "it says {said}");
    let state = kennel.host().run(&["systemctl", "is-active", lasting])?;
    ensure!(state.trim() == "active", "{lasting} is {state}");
    expect_no_leftovers(kennel, project).map(drop)
}
