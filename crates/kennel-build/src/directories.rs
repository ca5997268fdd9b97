//! One build's directories: which they are, how they are made, which of them its end removes.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kennel_core::{BuildId, Layout, ProjectName};
use rustix::fs::Mode;

/// Where one build of one project works.
#[derive(Debug, Clone)]
pub struct Directories {
    /// The project's bare mirror.
    pub mirror: PathBuf,
    /// The project's HOME for git and Nix.
    pub cache: PathBuf,
    /// What is needed only while the build runs, TMPDIR among it.
    pub work: PathBuf,
    /// The build's log files.
    pub logs: PathBuf,
    /// One link per built output: the GC roots.
    pub roots: PathBuf,
}

/// A directory cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {}", .path.display())]
pub struct MakeError {
    path: PathBuf,
    source: io::Error,
}

impl Directories {
    /// Of this build.
    #[must_use]
    pub fn new(layout: &Layout, project: &ProjectName, id: BuildId) -> Self {
        Self {
            mirror: layout.mirror(project),
            cache: layout.cache(project),
            work: layout.work(id),
            logs: layout.logs(id),
            roots: layout.build_roots(id),
        }
    }

    /// Makes those that are not there yet.
    ///
    /// # Errors
    /// [`MakeError`] names the one that cannot be made.
    pub fn make(&self) -> Result<(), MakeError> {
        // Group and setgid bit come from the parents: kennel-state reads logs, and kennel-deploy,
        // which is root without its privileges, removes links in its own group's directory. A
        // chmod would take the setgid bit away, because the builder is not in that group.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o002));
        let made = [
            (&self.mirror, 0o700),
            (&self.cache, 0o700),
            (&self.work, 0o700),
            (&self.logs, 0o750),
            (&self.roots, 0o775),
        ]
        .into_iter()
        .try_for_each(|(path, mode)| make(path, mode));
        rustix::process::umask(umask);
        made
    }

    /// The link by which Nix holds an output: a GC root.
    #[must_use]
    pub fn root(&self, output: &str) -> PathBuf {
        self.roots.join(output)
    }

    /// Removes what only a running build needs.
    ///
    /// # Errors
    /// Whatever keeps it there.
    pub fn remove_work(&self) -> io::Result<()> {
        remove(&self.work)
    }

    /// Removes the GC roots of a build that has nothing to deploy.
    ///
    /// # Errors
    /// Whatever keeps them there.
    pub fn remove_roots(&self) -> io::Result<()> {
        remove(&self.roots)
    }
}

fn make(path: &Path, mode: u32) -> Result<(), MakeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| MakeError { path: path.into(), source })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn group_of_the_roots_comes_from_above() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("var/lib/kennel/gcroots");
        fs::create_dir_all(&parent).unwrap();
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o2775)).unwrap();
        let project = "demo".parse().unwrap();
        let directories =
            Directories::new(&Layout::under(dir.path()), &project, BuildId::from_row(7));
        directories.make().unwrap();
        directories.make().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&directories.roots), 0o2775);
        assert_eq!(mode(&directories.work), 0o700);
        directories.remove_roots().unwrap();
        directories.remove_roots().unwrap();
        assert!(!directories.roots.exists());
    }
}
