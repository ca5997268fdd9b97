//! What builds have left and no row needs any more: directories of builds that are forgotten, and
//! mirrors and caches of projects that are gone. A cache that has grown too large is emptied.
//!
//! A row is made before its directories, and goes when its time is over. So a directory without a
//! row is of no build that is there or comes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kennel_core::{BuildId, Layout, ProjectName};
use kennel_store::{Access, BuildFilter, Builds, ConfigError, StoreError, load_projects};
use tracing::{info, warn};

use crate::{cache, say};

/// How large a project's cache may grow, in bytes: inputs of a large flake in some versions. What
/// is needed of it is fetched again.
const MOST_CACHE: u64 = 4 << 30;

/// Nobody can tell what is needed.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// The rows cannot be read.
    #[error("the builds cannot be read; nothing is removed")]
    Store(#[from] StoreError),
    /// The projects' directory cannot be read.
    #[error("the projects cannot be read; no mirror is removed")]
    Config(#[from] ConfigError),
    /// A directory of Kennel's own cannot be read.
    #[error("cannot look into {}", .path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes what no row needs. What cannot be removed is told, and keeps nothing else there.
///
/// # Errors
/// Any [`TidyError`]; then what it is about is all there.
pub fn tidy(layout: &Layout) -> Result<(), TidyError> {
    let builds = Builds::open(&layout.builds_db(), Access::Patient)?;
    tidy_builds(layout, &builds)?;
    tidy_projects(layout, &builds)?;
    for path in entries(&layout.caches())? {
        if let Err(error) = bound(&path, MOST_CACHE) {
            warn!("{}", say::not_tidied(&path, &error));
        }
    }
    Ok(())
}

fn tidy_builds(layout: &Layout, builds: &Builds) -> Result<(), TidyError> {
    // A database that was lost knows of no builds: what they left is not taken for abandoned.
    let newest = builds.list(&BuildFilter::default(), 1)?.into_iter().next();
    let Some(newest) = newest else { return Ok(()) };
    for directory in layout.of_builds() {
        for path in entries(&directory)? {
            let id = name(&path).and_then(|name| name.parse::<BuildId>().ok());
            let Some(id) = id.filter(|id| *id < newest.id) else { continue };
            if builds.get(id)?.is_none() {
                remove(&path);
            }
        }
    }
    Ok(())
}

fn tidy_projects(layout: &Layout, builds: &Builds) -> Result<(), TidyError> {
    if !layout.projects().is_dir() {
        return Ok(());
    }
    let files = load_projects(layout)?;
    // One whose file is wrong is there.
    let configured: BTreeSet<_> = files.keys().filter_map(|path| path.file_stem()).collect();
    for directory in [layout.mirrors(), layout.caches()] {
        for path in entries(&directory)? {
            let project = name(&path).map(|name| name.strip_suffix(".git").unwrap_or(name));
            let Some(project) = project.and_then(|name| name.parse::<ProjectName>().ok()) else {
                continue;
            };
            // Rows of a project whose file has gone stay for a while, and with them this.
            let is_configured = configured.contains(OsStr::new(project.as_str()));
            if !is_configured && builds.refs(&project)?.is_empty() {
                remove(&path);
            }
        }
    }
    Ok(())
}

/// Empties the cache if it takes more than `most` bytes and no build uses it.
fn bound(cache: &Path, most: u64) -> io::Result<()> {
    let size = cache::size(cache)?;
    if size <= most {
        return Ok(());
    }
    // Builds that begin wait until it is done.
    if let Some(_lock) = cache::take(cache)? {
        cache::empty(cache)?;
        info!("{}", say::emptied(cache, size, most));
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, TidyError> {
    let failed = |source| TidyError::Directory { path: directory.into(), source };
    let entries = fs::read_dir(directory).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => info!("{}", say::tidied(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!("{}", say::not_tidied(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use kennel_core::{BuildEvent, EventId, Timestamp};
    use kennel_store::{NewBuild, Refs};

    use super::*;

    /// Three builds of `shop` that have ended, the first of them long ago, and what all of them left.
    fn host() -> (tempfile::TempDir, Layout, Builds) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        fs::create_dir_all(layout.builds_db().parent().unwrap()).unwrap();
        fs::create_dir_all(layout.projects()).unwrap();
        let mut builds = Builds::open(&layout.builds_db(), Access::Patient).unwrap();
        for row in 1..=3 {
            let at = Timestamp::from_millis(row * 1000);
            let new = NewBuild {
                request: EventId::from_row(row),
                project: "shop".parse().unwrap(),
                git_ref: "refs/heads/main".parse().unwrap(),
                sha: "a".repeat(40).parse().unwrap(),
                by: None,
                received_at: at,
                fork: false,
                needs_approval: false,
            };
            let id = builds.enqueue(&new, at).unwrap().id;
            builds.step(id, BuildEvent::Cancelled, None, at).unwrap();
            builds.handed_over(id).unwrap();
        }
        for directory in layout.of_builds() {
            for name in ["1", "2", "3", "4", "poll-shop", "lost+found"] {
                fs::create_dir_all(directory.join(name).join("x")).unwrap();
            }
        }
        for (directory, suffix) in [(layout.mirrors(), ".git"), (layout.caches(), "")] {
            for project in ["shop", "gone", "kept"] {
                fs::create_dir_all(directory.join(format!("{project}{suffix}/x"))).unwrap();
            }
        }
        fs::write(layout.projects().join("kept.toml"), "this is wrong").unwrap();
        (dir, layout, builds)
    }

    fn left(directory: &Path) -> String {
        let entries = entries(directory).unwrap();
        let mut names: Vec<_> = entries.iter().filter_map(|path| name(path)).collect();
        names.sort_unstable();
        names.join(" ")
    }

    #[test]
    fn what_has_no_row_goes() {
        let (_dir, layout, mut builds) = host();
        let before = Timestamp::from_millis(1500);
        let forgotten = builds.forget_before(before, &BTreeSet::new(), &Refs::new()).unwrap();
        assert_eq!(forgotten, 1);
        tidy(&layout).unwrap();
        for directory in layout.of_builds() {
            assert_eq!(left(&directory), "2 3 4 lost+found poll-shop");
        }
        assert_eq!(left(&layout.mirrors()), "kept.git shop.git");
        assert_eq!(left(&layout.caches()), "kept shop");
    }

    #[test]
    fn a_lost_database_takes_no_logs_along() {
        let (_dir, layout, builds) = host();
        drop(builds);
        fs::remove_file(layout.builds_db()).unwrap();
        tidy(&layout).unwrap();
        for directory in layout.of_builds() {
            assert_eq!(left(&directory), "1 2 3 4 lost+found poll-shop");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_told() {
        let (_dir, layout, _builds) = host();
        fs::remove_dir_all(layout.mirrors()).unwrap();
        let missing = layout.mirrors();
        assert!(matches!(tidy(&layout), Err(TidyError::Directory { path, .. }) if path == missing));
    }

    #[test]
    fn a_cache_is_emptied_when_it_is_too_large_and_nobody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("large"), vec![1; 1 << 20]).unwrap();
        let is_there = || dir.path().join("large").exists();
        bound(dir.path(), 2 << 20).unwrap();
        assert!(is_there());
        let used = cache::share(dir.path()).unwrap();
        bound(dir.path(), 1 << 10).unwrap();
        assert!(is_there());
        drop(used);
        bound(dir.path(), 1 << 10).unwrap();
        assert!(!is_there());
    }
}
