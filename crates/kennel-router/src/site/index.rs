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

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, RANGE};
use kennel_core::{SiteRules, StorePath};
use tracing::warn;

use super::coding::{Coding, Wishes};
use super::file::{Contents, File};
use super::lasting::is_hashed;
use super::rules::Rules;
use super::shelf::Shelf;
use crate::say;

/// More than this is no site but a mistake, and would fill the memory.
const MOST_ENTRIES: usize = 500_000;

/// A static site.
#[derive(Debug)]
pub(crate) struct Site {
    places: HashMap<Box<str>, Place>,
    pub(super) rules: Option<Box<Rules>>,
}

/// What a path of a site is.
#[derive(Debug)]
pub(super) enum Place {
    /// A file, also one that a link leads to.
    File(Entry),
    /// A folder.
    Folder,
}

/// A file in each form that it has.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) plain: Arc<File>,
    /// Siblings, smallest first; without any, what is made here.
    coded: Box<[(Coding, Arc<File>)]>,
    /// Whether its name changes with its contents.
    pub(super) is_hashed: bool,
}

/// A file that was there when the site was published cannot be read.
pub(super) struct Unreadable<'a>(pub(super) &'a File, pub(super) io::Error);

impl Entry {
    /// Whether the answer depends on `Accept-Encoding`.
    pub(super) fn varies(&self) -> bool {
        !self.coded.is_empty()
    }

    /// Whether it is a page, and not a part of one.
    pub(super) fn is_page(&self) -> bool {
        self.plain.kind.as_bytes().starts_with(b"text/html")
    }

    /// What a client gets of it.
    pub(super) async fn open(
        &self,
        headers: &HeaderMap,
    ) -> Result<(Option<Coding>, Contents), Unreadable<'_>> {
        let (coding, file) = self.choose(headers);
        if file.is_packed_here() {
            // Parts are parts of a file, and not of what may be made anew between two of them.
            if !headers.contains_key(RANGE)
                && let Some(contents) = file.at_hand()
            {
                return Ok((coding, contents));
            }
            let plain = self.plain.open().await;
            return plain.map(|it| (None, it)).map_err(|error| Unreadable(&self.plain, error));
        }
        file.open().await.map(|it| (coding, it)).map_err(|error| Unreadable(file, error))
    }

    /// The first among those that a client wants most.
    fn choose(&self, headers: &HeaderMap) -> (Option<Coding>, &Arc<File>) {
        let plain = (None, &self.plain);
        if !self.varies() || !headers.contains_key(ACCEPT_ENCODING) {
            return plain;
        }
        let wishes = Wishes::of(headers);
        let mut best = 0;
        let mut chosen = plain;
        for (coding, file) in &self.coded {
            let weight = wishes.weight(*coding);
            if weight > best {
                best = weight;
                chosen = (Some(*coding), file);
            }
        }
        chosen
    }
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
        let rules = walker.rules(&real)?;
        walker.pair();
        Ok(Self { places: walker.places, rules })
    }

    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    pub(super) fn file(&self, key: &str) -> Option<&Entry> {
        match self.places.get(key)? {
            Place::File(entry) => Some(entry),
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
                let is_hashed = is_hashed(&key);
                let coded = file.packings().into();
                let entry = Entry { plain: Arc::new(file), coded, is_hashed };
                self.places.insert(key.into(), Place::File(entry));
            } else if kind.is_dir() && !above.contains(&real) {
                self.places.insert(key.as_str().into(), Place::Folder);
                above.push(real.clone());
                self.folder(&real, &format!("{key}/"), above)?;
                above.pop();
            }
        }
        Ok(())
    }

    /// Takes the files of rules out of what is served, and reads them.
    fn rules(&mut self, root: &Path) -> Result<Option<Box<Rules>>, SiteError> {
        let mut rules = SiteRules::default();
        for name in [SiteRules::REDIRECTS, SiteRules::HEADERS] {
            let Some(Place::File(entry)) = self.places.remove(name) else { continue };
            let path = entry.plain.path();
            let problems = fs::File::open(path)
                .and_then(|file| rules.read(name, file))
                .map_err(|source| SiteError::Walk { path: path.into(), source })?;
            for problem in problems {
                warn!("{}", say::problem_of_site(root, &problem));
            }
        }
        Ok(Rules::new(rules))
    }

    /// Gives each file the siblings that a build has compressed for it. One that is not smaller is
    /// of no use to anybody.
    fn pair(&mut self) {
        let mut found: Vec<(Box<str>, Coding, Arc<File>)> = Vec::new();
        for (key, place) in &self.places {
            let coding = Coding::ALL.iter().find(|coding| key.ends_with(coding.ending()));
            let (Some(coding), Place::File(sibling)) = (coding, place) else { continue };
            let Some(of) = key.strip_suffix(coding.ending()) else { continue };
            if let Some(Place::File(entry)) = self.places.get(of)
                && sibling.plain.len < entry.plain.len
            {
                found.push((of.into(), *coding, Arc::new(sibling.plain.sent_as(&entry.plain))));
            }
        }
        found.sort_by_key(|(.., file)| file.len);
        let mut of: HashMap<Box<str>, Vec<(Coding, Arc<File>)>> = HashMap::new();
        for (key, coding, file) in found {
            of.entry(key).or_default().push((coding, file));
        }
        for (key, coded) in of {
            if let Some(Place::File(entry)) = self.places.get_mut(&key) {
                entry.coded = coded.into();
            }
        }
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
