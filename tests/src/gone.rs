//! The end of a branch or pull request, seen from outside.

use serde_json::Value;

use crate::{Asked, Context, Kennel, LIMIT, Project, Result, Rows, bail, expect_no_leftovers};

/// Waits until everything asked for is done and nothing of a ref (`refs/heads/x`) builds, serves
/// or could come back; then that the host agrees with the rows.
///
/// # Errors
/// When something stays: what it is, and what Kennel says.
pub fn expect_gone(kennel: &Kennel, project: &Project, git_ref: &str) -> Result<Rows> {
    let name = project.name();
    kennel.wait_for(&format!("end of {git_ref} of {name}"), LIMIT, || {
        for asked in Asked::about(kennel, name)? {
            if asked.outcome.is_none() {
                bail!("nobody has taken {asked:?}");
            }
        }
        for build in builds_of(kennel, project, git_ref)? {
            if matches!(build.get("state").and_then(Value::as_str), Some("queued" | "building")) {
                bail!("{build}");
            }
        }
        let rows = Rows::read(kennel)?;
        for it in rows.of(name).filter(|it| it.git_ref == git_ref) {
            if it.holds() || !it.is_settled() {
                bail!("{it:?}");
            }
        }
        Ok(Some(()))
    })?;
    expect_no_leftovers(kennel, name)
}

/// Every build of a ref, newest first.
///
/// # Errors
/// When kennelctl fails.
pub fn builds_of(kennel: &Kennel, project: &Project, git_ref: &str) -> Result<Vec<Value>> {
    let builds = kennel.ctl(&["builds", "--limit", "1000", "--project", project.name()])?;
    let builds = builds.as_array().context("the builds are no list")?;
    let of_ref = |build: &&Value| build.get("ref").is_some_and(|it| it == git_ref);
    Ok(builds.iter().filter(of_ref).cloned().collect())
}
