//! The repository at the forge, asked for its branches and for nothing else.
//!
//! Apart from the mirror: nothing is fetched, and no build waits for the answer.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use kennel_core::config::RepoUrl;
use kennel_core::{Branch, CommitSha, GitRef, Layout, ProjectName};

use crate::directories::Directories;
use crate::git::Git;
use crate::git_trouble::{Trouble, essence};
use crate::leash::Leash;

/// A forge has not said which branches there are.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It cannot be reached.
    #[error("{url} cannot be reached: {said}")]
    Network {
        /// Where.
        url: RepoUrl,
        /// Git's words.
        said: String,
    },
    /// It is there, and does not come to an end.
    #[error("{url} has not answered within {} s", .patience.as_secs())]
    Late {
        /// Where.
        url: RepoUrl,
        /// How long it was given.
        patience: Duration,
    },
    /// It does not let Kennel read the repository.
    #[error("{url} cannot be read; does it exist, and may this host read it? {said}")]
    Refused {
        /// Where.
        url: RepoUrl,
        /// Git's words.
        said: String,
    },
    /// Git failed in another way.
    #[error("git failed on {url}: {said}")]
    Failed {
        /// Where.
        url: RepoUrl,
        /// Git's words.
        said: String,
    },
    /// What came is no list of branches, or not the whole of one.
    #[error("{url} answers with something else than a list of branches: {line:?}")]
    Garbled {
        /// Where.
        url: RepoUrl,
        /// The line that is none.
        line: String,
    },
    /// Git cannot be run.
    #[error("cannot run git in {}", .path.display())]
    Io {
        /// Where it was to work.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A project's repository at its forge.
#[derive(Debug)]
pub struct Remote<'a> {
    leash: &'a Leash,
    directories: Directories,
    url: &'a RepoUrl,
    patience: Duration,
}

impl<'a> Remote<'a> {
    /// The repository at `url`, which is given so long for an answer.
    #[must_use]
    pub fn new(
        leash: &'a Leash,
        layout: &Layout,
        project: &ProjectName,
        url: &'a RepoUrl,
        patience: Duration,
    ) -> Self {
        let work = layout.poll_work(project);
        // There is no repository: git is told of a directory that is none, and of no other.
        let directories = Directories {
            mirror: work.clone(),
            cache: work.clone(),
            logs: work.clone(),
            roots: work.clone(),
            work,
        };
        Self { leash, directories, url, patience }
    }

    /// Every branch and its head. An empty repository has none.
    ///
    /// # Errors
    /// Any [`AskError`]: then nobody knows which branches there are.
    pub fn heads(&self) -> Result<BTreeMap<Branch, CommitSha>, AskError> {
        let asked = self.ask();
        let removed = self.directories.remove_work();
        let heads = asked?;
        removed.map_err(|source| self.io(source))?;
        Ok(heads)
    }

    fn ask(&self) -> Result<BTreeMap<Branch, CommitSha>, AskError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directories.work)
            .map_err(|source| self.io(source))?;
        let said = Git::new(self.leash, &self.directories, self.url)
            .map(|git| git.waiting(self.patience))
            .and_then(|git| git.run(&["ls-remote", "--heads", "--", self.url.as_str()]))
            .map_err(|source| self.io(source))?;
        let url = self.url.clone();
        if said.late {
            return Err(AskError::Late { url, patience: self.patience });
        }
        if !said.status.success() {
            let words = essence(&said.stderr);
            return Err(match Trouble::of(&said.stderr) {
                Trouble::Network => AskError::Network { url, said: words },
                Trouble::Refused => AskError::Refused { url, said: words },
                Trouble::NoSuchRef | Trouble::Other => AskError::Failed { url, said: words },
            });
        }
        parse(&said.stdout).map_err(|line| AskError::Garbled { url, line })
    }

    fn io(&self, source: io::Error) -> AskError {
        AskError::Io { path: self.directories.work.clone(), source }
    }
}

/// git-ls-remote(1), "OUTPUT". The error is the first line that is none.
fn parse(answer: &[u8]) -> Result<BTreeMap<Branch, CommitSha>, String> {
    let mut heads = BTreeMap::new();
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let garbled = || text.trim_end().chars().take(200).collect::<String>();
        let (sha, name) =
            text.strip_suffix('\n').and_then(|line| line.split_once('\t')).ok_or_else(garbled)?;
        let sha: CommitSha = sha.parse().map_err(|_| garbled())?;
        if !name.starts_with("refs/heads/") {
            return Err(garbled());
        }
        // A name that Kennel refuses, as a webhook's would be, hides no other.
        if let Ok(GitRef::Branch(branch)) = name.parse() {
            heads.insert(branch, sha);
        }
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_answer_is_none() {
        let [a, b] = ["a", "b"].map(|digit| digit.repeat(40));
        let whole = format!("{a}\trefs/heads/main\n{b}\trefs/heads/feature/x\n");
        let heads = parse(whole.as_bytes()).unwrap();
        let heads: Vec<_> = heads.iter().map(|(name, sha)| format!("{name} {sha}")).collect();
        assert_eq!(heads, [format!("feature/x {b}"), format!("main {a}")]);
        assert_eq!(parse(b"").unwrap(), BTreeMap::new());
        for cut in 1..whole.len() {
            let half = parse(&whole.as_bytes()[..cut]);
            assert_eq!(half.is_ok(), whole.as_bytes()[cut - 1] == b'\n', "{half:?}");
        }
        assert!(parse(format!("{a}\trefs/tags/v1\n").as_bytes()).is_err());
        assert!(parse(b"<html>\n").is_err());
    }

    #[test]
    fn a_name_that_no_branch_may_have_is_passed_over() {
        let answer = format!("{0}\trefs/heads/-x\n{0}\trefs/heads/main\n", "a".repeat(40));
        assert_eq!(parse(answer.as_bytes()).unwrap().len(), 1);
    }
}
