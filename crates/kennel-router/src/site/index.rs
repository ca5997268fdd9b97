//! The index of a site: every path that it has, found by one walk.
//!
//! Links are resolved here and accepted only inside the store; names that begin with a dot stay
//! out, but for `.well-known`. Nothing is read: that comes with the first request for a file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennel_core::StorePath;

use super::file::File;
use super::shelf::Shelf;

/// More than this is no site but a mistake, and would fill the memory.
const MOST_ENTRIES: usize = 500_000;

/// A static site.
#[derive(Debug)]
pub(crate) struct Site {
    places: HashMap<Box<str>, Place>,
}

/// What a path of a site is.
#[derive(Debug)]
pub(super) enum Place {
    /// A file, also one that a link leads to.
    File(Arc<File>),
    /// A folder.
    Folder,
}

/// A site cannot be served; its requests are answered with 503 until the next publication.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("cannot walk {}, which a site serves; deploy it again", .path.display())]
    Walk { path: PathBuf, source: io::Error },
    #[error("{} leads out of the store, and is not served", .path.display())]
    Outside { path: PathBuf },
    #[error("{} has more than {MOST_ENTRIES} entries, and is not served", .path.display())]
    TooLarge { path: PathBuf },
}

impl Site {
    /// Walks `root`.
    pub(crate) fn open(root: &StorePath, shelf: &Arc<Shelf>) -> Result<Self, SiteError> {
        let name = root.as_str().strip_prefix(StorePath::STORE).unwrap_or_default();
        let path = shelf.store().join(name);
        let walk = |source| SiteError::Walk { path: path.clone(), source };
        let store = fs::canonicalize(shelf.store()).map_err(walk)?;
        // The root may itself be a link to another store path.
        let real = fs::canonicalize(&path).map_err(walk)?;
        if !is_inside(&real, &store) {
            return Err(SiteError::Outside { path });
        }
        let mut walker = Walker { store: &store, shelf, places: HashMap::new() };
        walker.folder(&real, "", &mut vec![real.clone()])?;
        Ok(Self { places: walker.places })
    }

    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    pub(super) fn file(&self, key: &str) -> Option<&Arc<File>> {
        match self.places.get(key)? {
            Place::File(file) => Some(file),
            Place::Folder => None,
        }
    }
}

struct Walker<'a> {
    store: &'a Path,
    shelf: &'a Arc<Shelf>,
    places: HashMap<Box<str>, Place>,
}

impl Walker<'_> {
    /// Adds what is in the folder `real`, whose key is `key` (empty, or with a final slash).
    /// `above` holds the folders on the way here, against links that lead back up.
    fn folder(
        &mut self,
        real: &Path,
        key: &str,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), SiteError> {
        let walk = |source| SiteError::Walk { path: real.to_owned(), source };
        for entry in fs::read_dir(real).map_err(walk)? {
            let entry = entry.map_err(walk)?;
            let name = entry.file_name();
            let Some(name) = served_name(&name) else { continue };
            if self.places.len() >= MOST_ENTRIES {
                return Err(SiteError::TooLarge { path: real.to_owned() });
            }
            let Some((real, kind)) = self.resolve(entry.path()) else { continue };
            let key = format!("{key}{name}");
            if kind.is_file() {
                let file = File::new(real, kind.len(), &key, self.store, self.shelf);
                self.places.insert(key.into(), Place::File(Arc::new(file)));
            } else if kind.is_dir() && !above.contains(&real) {
                self.places.insert(key.as_str().into(), Place::Folder);
                above.push(real.clone());
                self.folder(&real, &format!("{key}/"), above)?;
                above.pop();
            }
        }
        Ok(())
    }

    /// What an entry really is; nothing for a link that leads nowhere or out of the store.
    fn resolve(&self, path: PathBuf) -> Option<(PathBuf, fs::Metadata)> {
        let kind = fs::symlink_metadata(&path).ok()?;
        if !kind.is_symlink() {
            return Some((path, kind));
        }
        let real = fs::canonicalize(&path).ok()?;
        if !is_inside(&real, self.store) {
            return None;
        }
        let kind = fs::symlink_metadata(&real).ok()?;
        Some((real, kind))
    }
}

/// Below the store, and not the store itself.
fn is_inside(real: &Path, store: &Path) -> bool {
    real.strip_prefix(store).is_ok_and(|rest| !rest.as_os_str().is_empty())
}

fn served_name(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?;
    (!name.starts_with('.') || name == ".well-known").then_some(name)
}
