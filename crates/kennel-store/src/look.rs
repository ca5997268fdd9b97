//! What kennel-poll remembers of one project between its looks at the forge.
//!
//! A file and no row: nobody decides by it, and it is written even while nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use kennel_core::config::RepoUrl;
use kennel_core::{Branch, CommitSha, Layout, ProjectName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::whole_file;

/// The last look at a project's forge, and what is to be remembered for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Where the project was looked for. Another address is another forge, of which nothing is
    /// known.
    pub repo_url: RepoUrl,
    /// When the forge answered last.
    pub answered_at: Option<Timestamp>,
    /// How often in a row it did not.
    pub failures: u32,
    /// When it is asked again, if it is to be left alone.
    pub next_at: Option<Timestamp>,
    /// What is wrong, for people.
    pub trouble: Option<String>,
    /// Heads that were there before Kennel was, and are not to be built.
    pub older: BTreeMap<Branch, CommitSha>,
}

impl Look {
    /// Of a forge that was never asked.
    #[must_use]
    pub fn never(repo_url: RepoUrl) -> Self {
        Self {
            repo_url,
            answered_at: None,
            failures: 0,
            next_at: None,
            trouble: None,
            older: BTreeMap::new(),
        }
    }

    /// The last look at a project; none if there was none, or nobody can tell any more.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn load(layout: &Layout, project: &ProjectName) -> io::Result<Option<Self>> {
        match fs::read(layout.look(project)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces what was remembered.
    ///
    /// # Errors
    /// The file cannot be replaced.
    pub fn save(&self, layout: &Layout, project: &ProjectName) -> io::Result<()> {
        let text = serde_json::to_string(self)?;
        whole_file::replace(&layout.look(project), &text, 0o640)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        let project = "site".parse().unwrap();
        let path = layout.look(&project);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(Look::load(&layout, &project).unwrap(), None);
        let mut look = Look::never("https://git.example.com/team/site.git".parse().unwrap());
        look.older.insert("feature/x".parse().unwrap(), "a".repeat(40).parse().unwrap());
        look.answered_at = Some(Timestamp::from_millis(7));
        look.save(&layout, &project).unwrap();
        assert_eq!(Look::load(&layout, &project).unwrap(), Some(look));
        fs::write(&path, "{\"repo_url\":").unwrap();
        assert_eq!(Look::load(&layout, &project).unwrap(), None);
    }
}
