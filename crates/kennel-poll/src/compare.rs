//! What a forge's branches say that the inbox was not told. Pure.

use std::collections::BTreeMap;

use kennel_core::config::ProjectConfig;
use kennel_core::{Branch, CommitSha, Event};
use kennel_store::Told;

/// A forge's branches, each with its head.
pub(crate) type Heads = BTreeMap<Branch, CommitSha>;

/// Something that nobody told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) event: Event,
    /// Whether it takes something back: a branch is gone, or at a commit that it had left. One answer
    /// is not enough to believe it.
    pub(crate) takes_back: bool,
}

/// Compares an answer with what was told before it was asked for. `older` are heads to leave alone.
pub(crate) fn compare(
    project: &ProjectConfig,
    heads: &Heads,
    told: &Told,
    older: &Heads,
) -> Vec<Found> {
    let mut found = Vec::new();
    for (branch, sha) in heads {
        let history = told.branches.get(branch).map_or(&[][..], Vec::as_slice);
        let is_known = history.first().is_some_and(|newest| newest.as_ref() == Some(sha));
        let is_older = history.is_empty() && older.get(branch) == Some(sha);
        if is_known || is_older || !project.branches.matches(branch) {
            continue;
        }
        let takes_back = history.iter().flatten().any(|earlier| earlier == sha);
        let event = Event::Push { branch: branch.clone(), sha: sha.clone() };
        found.push(Found { event, takes_back });
    }
    if !is_believable(project, heads) {
        return found;
    }
    for (branch, history) in &told.branches {
        let is_there = matches!(history.first(), Some(Some(_)));
        if is_there && !heads.contains_key(branch) {
            let event = Event::BranchDeleted { branch: branch.clone() };
            found.push(Found { event, takes_back: true });
        }
    }
    found
}

/// Whether what is missing in an answer is gone. One without the default branch is of an empty
/// repository, of another one, or of a forge that is not itself.
pub(crate) fn is_believable(project: &ProjectConfig, heads: &Heads) -> bool {
    heads.contains_key(&project.default_branch)
}

/// Those heads of a project's first look that are not to be built: Kennel deploys what is pushed,
/// and not hundreds of branches because it was told of their repository. The default branch is
/// what the project is there for.
pub(crate) fn there_before(project: &ProjectConfig, heads: &Heads, told: &Told) -> Heads {
    let of_nobody = heads.iter().filter(|(branch, _)| {
        **branch != project.default_branch && !told.branches.contains_key(*branch)
    });
    of_nobody.map(|(branch, sha)| (branch.clone(), sha.clone())).collect()
}

#[cfg(test)]
mod tests {
    use kennel_core::EventId;

    use super::*;

    fn project() -> ProjectConfig {
        let text = "repo_url = \"/srv/site.git\"\nbranches = [\"feature/*\"]\n";
        ProjectConfig::parse("site".parse().unwrap(), text, "site.toml").unwrap()
    }

    fn sha(digit: char) -> CommitSha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn heads(branches: &[(&str, char)]) -> Heads {
        branches.iter().map(|(name, digit)| (name.parse().unwrap(), sha(*digit))).collect()
    }

    /// Newest first; `-` is the end of the branch.
    fn told(branches: &[(&str, &str)]) -> Told {
        let history = |digits: &str| {
            digits.chars().map(|digit| (digit != '-').then(|| sha(digit))).collect::<Vec<_>>()
        };
        Told {
            until: EventId::from_row(9),
            branches: branches.iter().map(|(b, d)| (b.parse().unwrap(), history(d))).collect(),
        }
    }

    fn found(seen: &[(&str, char)], told_of: &[(&str, &str)], older: &[(&str, char)]) -> String {
        let found = compare(&project(), &heads(seen), &told(told_of), &heads(older));
        let line = |found: &Found| {
            let what = match &found.event {
                Event::Push { branch, sha } => format!("{branch} at {}", &sha.as_str()[..1]),
                Event::BranchDeleted { branch } => format!("{branch} gone"),
                other => panic!("{other:?}"),
            };
            format!("{what}{}", if found.takes_back { "?" } else { "" })
        };
        found.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_what_nobody_told_of() {
        let seen = [("main", 'b'), ("feature/x", 'c')];
        assert_eq!(found(&seen, &[("main", "ba"), ("feature/x", "c")], &[]), "");
        assert_eq!(found(&seen, &[("main", "a")], &[]), "feature/x at c, main at b");
        assert_eq!(found(&seen, &[("main", "b")], &[("feature/x", 'c')]), "");
        assert_eq!(found(&seen, &[("main", "b")], &[("feature/x", 'd')]), "feature/x at c");
        // Its branch ended since.
        assert_eq!(found(&seen, &[("main", "b"), ("feature/x", "-d")], &[]), "feature/x at c");
    }

    #[test]
    fn branches_that_do_not_deploy_are_left_alone() {
        let seen = [("main", 'a'), ("wip", 'b')];
        assert_eq!(found(&seen, &[("main", "a")], &[]), "");
        // Unless they did, once.
        assert_eq!(found(&seen[..1], &[("main", "a"), ("wip", "b")], &[]), "wip gone?");
    }

    #[test]
    fn what_takes_something_back_is_not_sure() {
        assert_eq!(found(&[("main", 'a')], &[("main", "ba")], &[]), "main at a?");
        let gone = [("main", "a"), ("feature/x", "b"), ("feature/y", "-c")];
        assert_eq!(found(&[("main", 'a')], &gone, &[]), "feature/x gone?");
    }

    #[test]
    fn without_the_default_branch_nothing_is_gone() {
        let told_of = [("main", "a"), ("feature/x", "b")];
        assert_eq!(found(&[], &told_of, &[]), "");
        assert_eq!(found(&[("feature/y", 'c')], &told_of, &[]), "feature/y at c");
    }

    #[test]
    fn a_first_look_builds_the_default_branch_alone() {
        let seen = heads(&[("main", 'a'), ("feature/x", 'b'), ("feature/y", 'c'), ("wip", 'd')]);
        let older = there_before(&project(), &seen, &told(&[("feature/y", "d")]));
        assert_eq!(older, heads(&[("feature/x", 'b'), ("wip", 'd')]));
    }
}
