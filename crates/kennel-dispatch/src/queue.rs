//! Which queued builds run next.

use std::collections::{BTreeMap, BTreeSet};

use kennel_core::{GitRef, ProjectName};
use kennel_store::Build;

/// The builds that may start now, out of `queued` (oldest first), with `slots` free.
///
/// One build per project and ref at a time. Projects take turns: the one with the fewest running
/// builds comes first, then the one whose last start is longest ago; within a project the oldest.
pub(crate) fn next<'a>(
    queued: &[&'a Build],
    running: &[&Build],
    last_start: &BTreeMap<ProjectName, u64>,
    slots: usize,
) -> Vec<&'a Build> {
    let mut load: BTreeMap<&ProjectName, usize> = BTreeMap::new();
    let mut busy: BTreeSet<(&ProjectName, &GitRef)> = BTreeSet::new();
    for build in running {
        *load.entry(&build.project).or_default() += 1;
        busy.insert((&build.project, &build.git_ref));
    }
    let mut waiting: Vec<&Build> = queued.to_vec();
    let mut chosen: Vec<&Build> = Vec::new();
    while chosen.len() < slots {
        let best = waiting
            .iter()
            .enumerate()
            .filter(|(_, build)| !busy.contains(&(&build.project, &build.git_ref)))
            .min_by_key(|(_, build)| {
                let load = load.get(&build.project).copied().unwrap_or(0);
                (load, last_start.get(&build.project).copied(), build.id)
            })
            .map(|(index, _)| index);
        let Some(index) = best else { break };
        let build = waiting.remove(index);
        *load.entry(&build.project).or_default() += 1;
        busy.insert((&build.project, &build.git_ref));
        chosen.push(build);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use kennel_core::{BuildId, BuildState, EventId, Timestamp};

    use super::*;

    fn build(id: i64, project: &str, branch: &str) -> Build {
        Build {
            id: BuildId::from_row(id),
            request: EventId::from_row(id),
            project: project.parse().unwrap(),
            git_ref: format!("refs/heads/{branch}").parse().unwrap(),
            sha: "a".repeat(40).parse().unwrap(),
            by: None,
            received_at: Timestamp::from_millis(id),
            queued_at: Timestamp::from_millis(id),
            started_at: None,
            finished_at: None,
            state: BuildState::Queued,
            fork: false,
            approved_by: None,
            losses: 0,
            cancel_requested: false,
            superseded_by: None,
            reason: None,
            manifest: None,
        }
    }

    fn ids(queued: &[Build], running: &[Build], slots: usize) -> Vec<i64> {
        let queued: Vec<_> = queued.iter().collect();
        let running: Vec<_> = running.iter().collect();
        next(&queued, &running, &BTreeMap::new(), slots).iter().map(|b| b.id.get()).collect()
    }

    #[test]
    fn projects_take_turns() {
        let queued =
            [build(1, "a", "x"), build(2, "a", "y"), build(3, "a", "z"), build(4, "b", "x")];
        assert_eq!(ids(&queued, &[], 3), [1, 4, 2]);
        assert_eq!(ids(&queued, &[build(9, "a", "w")], 1), [4]);
    }

    #[test]
    fn the_project_that_waited_longest_comes_first() {
        let queued = [build(1, "a", "x"), build(2, "b", "x")];
        let queued: Vec<_> = queued.iter().collect();
        let last = BTreeMap::from([("a".parse().unwrap(), 5)]);
        assert_eq!(next(&queued, &[], &last, 1)[0].id.get(), 2);
    }

    #[test]
    fn a_ref_builds_once_at_a_time() {
        let queued = [build(2, "a", "x"), build(3, "a", "y")];
        assert_eq!(ids(&queued, &[build(1, "a", "x")], 5), [3]);
        assert_eq!(ids(&queued, &[], 0), Vec::<i64>::new());
    }
}
