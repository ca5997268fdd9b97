//! What of a branch's name may stand in a host name, a path and a unit name.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;
use crate::{GitRef, Invalid, plain_or_hashed};

/// A branch's name for hosts, paths and units: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 40 bytes.
///
/// Another type than [`crate::Branch`] since the way here loses something. [`Self::candidates`] is
/// that way, and the only one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchSlug(String);

impl BranchSlug {
    /// The most bytes a slug has. With a service's 40 a host label may exceed DNS's 63; it is
    /// shortened by itself.
    pub const MAX_LEN: usize = 40;

    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err("it has not 1 to 40 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err("only a-z, 0-9 and `-` may stand in it");
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err("it begins or ends with `-`");
        }
        Ok(())
    }

    /// The slugs for a ref, best first; the first that no other ref of the project holds is its
    /// slug. `pr-<n>` belongs to pull requests, so a branch of that name gets a hash.
    pub fn candidates(git_ref: &GitRef) -> impl Iterator<Item = Result<Self, Invalid>> {
        let short = git_ref.short();
        let plain = lower_dashed(&short);
        let faithful = match git_ref {
            GitRef::PullRequest(_) => true,
            GitRef::Branch(_) => plain == short && !looks_like_pull_request(&plain),
        };
        let parts = git_ref.to_string();
        plain_or_hashed(&plain, faithful, Self::MAX_LEN, &[&parts])
            .map(|slug| slug.parse())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

text_newtype!(BranchSlug, "branch slug");

/// Lower case, everything foreign as one `-`, none at the ends.
fn lower_dashed(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if c == '-' || !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

fn looks_like_pull_request(slug: &str) -> bool {
    slug.strip_prefix("pr-").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slug(git_ref: &str) -> String {
        BranchSlug::candidates(&git_ref.parse().unwrap()).next().unwrap().unwrap().to_string()
    }

    #[test]
    fn plain_where_nothing_is_lost() {
        assert_eq!(slug("refs/heads/main"), "main");
        assert_eq!(slug("refs/heads/feature-x"), "feature-x");
        assert_eq!(slug("refs/pull/5/head"), "pr-5");
    }

    #[test]
    fn hashed_where_something_is() {
        let names = [
            slug("refs/heads/feature-x-y"),
            slug("refs/heads/feature/x-y"),
            slug("refs/heads/feature/X_y"),
            slug("refs/heads/feature_x_y"),
        ];
        assert_eq!(names[0], "feature-x-y");
        for name in &names[1..] {
            assert!(
                name.starts_with("feature-x-y-") && name.len() == "feature-x-y-".len() + 6,
                "{name}"
            );
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_branch_cannot_pose_as_a_pull_request() {
        assert!(slug("refs/heads/pr-5").starts_with("pr-5-"));
        assert_eq!(slug("refs/heads/pr-x"), "pr-x");
    }

    proptest! {
        #[test]
        fn every_branch_has_a_slug(text in "\\PC{1,80}") {
            if let Ok(branch) = text.parse::<crate::Branch>() {
                for candidate in BranchSlug::candidates(&GitRef::Branch(branch)) {
                    prop_assert!(candidate.is_ok(), "{candidate:?}");
                }
            }
        }
    }
}
