//! A path in the Nix store.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A top-level path of the Nix store: `/nix/store/<32 base-32 characters>-<name>`.
///
/// Whether it exists, and whose GC root holds it, is not said here: kennel-deploy asks before it
/// believes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// Where Nix keeps what it builds.
    pub const STORE: &'static str = "/nix/store/";

    fn check(text: &str) -> Result<(), &'static str> {
        let Some(name) = text.strip_prefix(Self::STORE) else {
            return Err("it does not begin with /nix/store/");
        };
        let Some((hash, name)) = name.split_at_checked(32) else {
            return Err("its hash has not 32 characters");
        };
        // Nix's base 32 has no e, o, t, u.
        if !hash
            .bytes()
            .all(|b| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"eotu".contains(&b)))
        {
            return Err("its hash is not in Nix's base 32");
        }
        let Some(name) = name.strip_prefix('-') else {
            return Err("its hash and name are not joined by `-`");
        };
        if name.is_empty() || name.len() > 211 {
            return Err("its name has not 1 to 211 characters");
        }
        if name.starts_with('.') {
            return Err("its name begins with `.`");
        }
        // `?` and `=` are allowed by Nix as well, and `%` is not: nothing here needs escaping in a
        // unit file.
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b)) {
            return Err("its name has characters that Nix does not allow");
        }
        Ok(())
    }

    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The 32 characters that change when anything of the contents' recipe does.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.0.strip_prefix(Self::STORE).and_then(|rest| rest.get(..32)).unwrap_or_default()
    }
}

text_newtype!(StorePath, "store path");

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api-1.0";

    #[test]
    fn accepts_what_nix_makes() {
        let path: StorePath = GOOD.parse().unwrap();
        assert_eq!(path.hash(), "0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l");
    }

    #[test]
    fn refuses_everything_that_could_lead_elsewhere() {
        for bad in [
            "/etc/passwd",
            "/nix/store/",
            "/nix/store/../../etc/passwd-xxxxxxxxxxxxxxxxxxxxxxx",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-a/../b",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-a b",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-a%n",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-a\nb",
            "/nix/store/ec0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-hash-with-e",
            "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-.hidden",
        ] {
            assert!(bad.parse::<StorePath>().is_err(), "{bad}");
        }
    }
}
