//! Many pushes at once: each is answered, none is lost, and the newest of each branch serves.

use std::thread;
use std::time::Duration;

use kennel_tests::{Context, Kennel, Result, ensure};

const BRANCHES: usize = 8;
const PUSHES: usize = 5;

/// One build a branch on a busy machine, two at a time.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn of_pushes_ends_with_the_newest(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("flood")?;
    let branches: Vec<String> = (0..BRANCHES).map(|number| format!("b{number}")).collect();
    let version = |branch: &str, push: usize| format!("{branch}-v{push}");
    let mut events = Vec::new();
    for branch in &branches {
        let mut of_branch = Vec::new();
        for push in 0..PUSHES {
            let version = version(branch, push);
            let sources = kennel.sources().service("api", &version);
            of_branch.push(project.commit(branch, &sources, &version)?.event());
        }
        events.push(of_branch);
    }
    // Every branch by its own sender, each sending as soon as the last was answered.
    thread::scope(|scope| -> Result<()> {
        let senders: Vec<_> = events
            .iter()
            .map(|events| scope.spawn(|| events.iter().try_for_each(|event| project.tell(event))))
            .collect();
        for sender in senders {
            sender.join().map_err(|_panic| kennel_tests::anyhow!("a sender panicked"))??;
        }
        Ok(())
    })?;
    for branch in &branches {
        let newest = version(branch, PUSHES - 1);
        kennel.expect_page(&project.address("api", branch), "/version", &newest, LIMIT)?;
    }

    // Each delivery has become a build or was folded into one; the last of each branch succeeded.
    let builds = kennel.ctl(&["builds", "--project", "flood", "--limit", "1000"])?;
    let builds = builds.as_array().context("kennelctl builds prints no list")?;
    for branch in &branches {
        let of_branch = |build: &&serde_json::Value| build["branch"] == branch.as_str();
        let newest = builds.iter().find(of_branch).context("a branch has no build")?;
        ensure!(newest["state"] == "succeeded", "the newest build of {branch} is {newest}");
    }
    let ended = ["succeeded", "superseded"];
    for build in builds {
        let state = build["state"].as_str().unwrap_or_default();
        ensure!(ended.contains(&state), "a build is neither done nor superseded: {build}");
    }
    Ok(())
}
