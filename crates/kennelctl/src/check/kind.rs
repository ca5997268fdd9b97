//! What a configuration file configures.

use std::path::{Component, Path};

/// The three kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The host: /etc/kennel/config.toml
    Host,
    /// A project: /etc/kennel/projects.d/<project>.toml
    Project,
    /// A repository: its kennel.toml
    Repository,
}

impl Kind {
    /// The kind that follows from a file's name and directory.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // `cd /etc/kennel/projects.d; kennelctl check site.toml` means a project too.
        let absolute = std::path::absolute(path).ok()?;
        let mut parts = absolute.components().rev().filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let (name, directory) = (parts.next()?, parts.next());
        match (name, directory) {
            (name, Some("projects.d")) if name.ends_with(".toml") => Some(Self::Project),
            ("config.toml", _) => Some(Self::Host),
            ("kennel.toml", _) => Some(Self::Repository),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_tell() {
        for (path, kind) in [
            ("/etc/kennel/config.toml", Some(Kind::Host)),
            ("config.toml", Some(Kind::Host)),
            ("/etc/kennel/projects.d/site.toml", Some(Kind::Project)),
            ("x/projects.d/kennel.toml", Some(Kind::Project)),
            ("src/kennel.toml", Some(Kind::Repository)),
            ("site.toml", None),
            ("/", None),
        ] {
            assert_eq!(Kind::of(Path::new(path)), kind, "{path}");
        }
    }
}
