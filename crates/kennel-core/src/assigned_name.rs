//! Plain name first, hash only on need.
//!
//! Users, host labels and branch slugs are made from longer texts. The mapping loses something,
//! so two different sources can meet; kennel-store records each name under a uniqueness
//! constraint and asks here for the next candidate.

use sha2::{Digest, Sha256};

/// What a recorded name is for; each kind has its own space of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// The slug of a branch within its project.
    Slug,
    /// The user (and state directory) of a service, on the whole host.
    User,
    /// The label `<service>-<branch>` within a project.
    Label,
}

impl NameKind {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slug => "slug",
            Self::User => "user",
            Self::Label => "label",
        }
    }
}

/// The candidates for a name, in the order in which they are to be tried: `plain` itself if it is
/// `faithful` and has at most `max` bytes, then `plain`, shortened, with `-` and 6, 7 and 8 hex
/// digits of a hash of the exact `parts`.
///
/// `plain` must be made of `[a-z0-9-]`. The parts are hashed with their lengths, so `api`, `v2-x`
/// and `api-v2`, `x` differ.
pub fn plain_or_hashed(
    plain: &str,
    faithful: bool,
    max: usize,
    parts: &[&str],
) -> impl Iterator<Item = String> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digits: String = hasher.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect();
    let plain = plain.to_owned();
    let exact = (faithful && plain.len() <= max).then(|| plain.clone());
    exact.into_iter().chain((6..=8).map(move |length| {
        let kept: String = plain.chars().take(max - length - 1).collect();
        let kept = kept.trim_end_matches('-');
        let hash: String = digits.chars().take(length).collect();
        if kept.is_empty() { hash } else { format!("{kept}-{hash}") }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(plain: &str, faithful: bool, max: usize, parts: &[&str]) -> String {
        plain_or_hashed(plain, faithful, max, parts).next().unwrap()
    }

    #[test]
    fn plain_when_it_fits() {
        assert_eq!(first("api-main", true, 63, &["api", "main"]), "api-main");
    }

    #[test]
    fn hashed_when_too_long_or_lossy_and_never_over_the_limit() {
        let long = "a".repeat(80);
        assert_eq!(first(&long, true, 63, &[&long]).len(), 63);
        assert!(first("feature-x", false, 40, &["feature/x"]).starts_with("feature-x-"));
    }

    #[test]
    fn parts_are_not_merely_joined() {
        let one: Vec<_> = plain_or_hashed("api-v2-x", true, 63, &["api", "v2-x"]).skip(1).collect();
        let two: Vec<_> = plain_or_hashed("api-v2-x", true, 63, &["api-v2", "x"]).skip(1).collect();
        assert_eq!(one.len(), 3);
        assert!(one.iter().all(|name| !two.contains(name)));
    }

    #[test]
    fn no_double_dash_before_the_hash_and_never_empty() {
        let name = first("aaaaaa-bbbb", true, 14, &["x"]);
        assert_eq!(name, "aaaaaa-bbbb");
        let name = first("aaaaaa-bbbb", false, 14, &["x"]);
        assert!(name.starts_with("aaaaaa-") && !name.contains("--"), "{name}");
        assert_eq!(first("", false, 40, &["x"]).len(), 6);
    }
}
