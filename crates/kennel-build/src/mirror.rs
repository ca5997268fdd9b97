//! A project's bare mirror: the only place on this host that a commit comes from.
//!
//! Every build gets a ref of its own, `refs/kennel/builds/<id>`: unlike copies of the branches'
//! names, those never stand in each other's way (`a` gone, `a/b` new), a build that runs again
//! finds its commit without the forge, and Nix is pointed at something that no push moves.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use kennel_core::config::RepoUrl;
use kennel_core::{BuildId, CommitSha, GitRef};
use tracing::warn;

use crate::directories::Directories;
use crate::git::{Git, Said};
use crate::git_trouble::{Trouble, essence};
use crate::leash::Leash;
use crate::objects::Objects;

/// What a build wants from the mirror.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The build whose ref will hold it.
    pub build: BuildId,
    /// The branch or pull request.
    pub git_ref: &'a GitRef,
    /// The commit.
    pub sha: &'a CommitSha,
}

/// How the commit was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// An earlier run of this build had fetched it.
    Already,
    /// The ref points at it.
    Tip,
    /// The ref moved on and still contains it.
    Passed,
    /// The ref does not contain it, and the forge gave it all the same.
    Aside,
}

/// The commit is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A branch that was deleted, a pull request that never was.
    #[error("{git_ref} is no longer in {url}; nothing is built for it")]
    NoRef {
        /// The ref.
        git_ref: GitRef,
        /// Where it is looked for.
        url: RepoUrl,
    },
    /// Somebody pushed over it.
    #[error("{git_ref} no longer contains {}, and the forge does not give it any more; the newer push is built instead", .sha.short())]
    NoCommit {
        /// The ref.
        git_ref: GitRef,
        /// The commit.
        sha: CommitSha,
    },
    /// The forge cannot be reached.
    #[error("{url} cannot be reached, {tries} times: {said}")]
    Network {
        /// Where.
        url: RepoUrl,
        /// How often it was tried.
        tries: usize,
        /// Git's words.
        said: String,
    },
    /// The forge is there, and does not come to an end.
    #[error("{url} took longer than {} minutes; is the forge overloaded?", .patience.as_secs() / 60)]
    Late {
        /// Where.
        url: RepoUrl,
        /// How long it was given.
        patience: Duration,
    },
    /// The forge does not let Kennel read the repository.
    #[error("{url} cannot be read; does it exist, and may this host read it? {said}")]
    Refused {
        /// Where.
        url: RepoUrl,
        /// Git's words.
        said: String,
    },
    /// Git failed in another way, with a mirror that was made anew.
    #[error("git failed on {url}: {said}")]
    Failed {
        /// Where.
        url: RepoUrl,
        /// Git's words.
        said: String,
    },
    /// Git cannot be run, or the mirror cannot be written.
    #[error("cannot work on the mirror {}", .path.display())]
    Io {
        /// The mirror.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A project's bare mirror.
#[derive(Debug)]
pub struct Mirror<'a> {
    git: Git<'a>,
    directories: &'a Directories,
    url: &'a RepoUrl,
    pauses: &'a [Duration],
}

/// Between the tries at a forge that does not answer.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// How many builds keep their ref. Older commits are fetched again if anybody asks.
const KEPT_REFS: usize = 200;

impl<'a> Mirror<'a> {
    /// The mirror of the repository at `url`.
    ///
    /// # Errors
    /// [`FetchError::Io`] if git's configuration cannot be written.
    pub fn new(
        leash: &'a Leash,
        directories: &'a Directories,
        url: &'a RepoUrl,
    ) -> Result<Self, FetchError> {
        let git = Git::new(leash, directories, url)
            .map_err(|source| FetchError::Io { path: directories.mirror.clone(), source })?;
        Ok(Self { git, directories, url, pauses: &PAUSES })
    }

    /// With other pauses between the tries, for tests.
    #[must_use]
    pub fn pausing(mut self, pauses: &'a [Duration]) -> Self {
        self.pauses = pauses;
        self
    }

    /// Lets each git command take so long, for tests.
    #[must_use]
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.git = self.git.waiting(patience);
        self
    }

    /// The ref that holds a build's commit.
    #[must_use]
    pub fn build_ref(build: BuildId) -> String {
        format!("{REFS}{build}")
    }

    /// Has the commit and everything in it under the build's own ref, or says why not. While git
    /// looks whether all of it is there, `look` already does: what it has found comes back too.
    ///
    /// # Errors
    /// Any [`FetchError`].
    pub fn fetch<T>(
        &self,
        wanted: &Wanted<'_>,
        look: impl Fn(&Self) -> T,
    ) -> Result<(Found, T), FetchError> {
        let _lock = self.lock().map_err(|source| self.io(source))?;
        self.prepare(wanted.sha)?;
        match self.fetch_once(wanted) {
            Err(Attempt::Final(error)) => return Err(error),
            Ok(found) => {
                let (is_whole, seen) = thread::scope(|scope| {
                    let looking = scope.spawn(|| self.is_whole(wanted.sha));
                    let seen = look(self);
                    (looking.join(), seen)
                });
                let panicked = |_| Err(self.io(io::Error::other("looking at it panicked")));
                if is_whole.unwrap_or_else(panicked)? {
                    return Ok((found, seen));
                }
            }
            Err(Attempt::Unclear(error)) if self.is_sound()? => return Err(error),
            Err(Attempt::Unclear(_)) => {}
        }
        warn!("the mirror {} is damaged; making it anew", self.directories.mirror.display());
        self.make_anew(wanted.sha)?;
        match self.fetch_once(wanted) {
            Ok(found) => Ok((found, look(self))),
            Err(Attempt::Final(error) | Attempt::Unclear(error)) => Err(error),
        }
    }

    /// Keeps the mirror small. Called when nobody waits any more.
    ///
    /// # Errors
    /// [`FetchError::Io`] if git cannot be run. What git itself cannot do, it tries again next
    /// time.
    pub fn tidy(&self) -> Result<(), FetchError> {
        let _lock = self.lock().map_err(|source| self.io(source))?;
        let listed = self.run(&["for-each-ref", "--format=%(refname)", REFS])?.text();
        let mut builds: Vec<BuildId> =
            listed.lines().filter_map(|name| name.strip_prefix(REFS)?.parse().ok()).collect();
        builds.sort_unstable_by(|a, b| b.cmp(a));
        for build in builds.into_iter().skip(KEPT_REFS) {
            self.run(&["update-ref", "-d", &Self::build_ref(build)])?;
        }
        // Packs only: one came with each fetch. Commits without a ref stay two weeks.
        self.run(&["-c", "gc.auto=6700", "gc", "--auto", "--quiet", "--no-detach"])?;
        Ok(())
    }

    /// A git that hands out its objects.
    ///
    /// # Errors
    /// [`FetchError::Io`].
    pub(crate) fn objects(&self) -> Result<Objects, FetchError> {
        self.git.objects().map_err(|source| self.io(source))
    }

    fn run(&self, arguments: &[&str]) -> Result<Said, FetchError> {
        self.git.run(arguments).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> FetchError {
        FetchError::Io { path: self.directories.mirror.clone(), source }
    }

    /// One git at a time changes a mirror; two builds of a project may run at once.
    fn lock(&self) -> io::Result<File> {
        let file = File::create(self.directories.cache.join("mirror.lock"))?;
        file.lock()?;
        Ok(file)
    }

    /// Makes the mirror unless there is one, and clears what a killed git left.
    fn prepare(&self, sha: &CommitSha) -> Result<(), FetchError> {
        if self.format() != Some(object_format(sha)) {
            return self.make_anew(sha);
        }
        // The lock is held, so that whoever made these is dead.
        remove_leftovers(&self.directories.mirror).map_err(|source| self.io(source))
    }

    /// The mirror's object format, as its own files say it (gitrepository-layout(5),
    /// `extensions.objectFormat`); none if there is no mirror. What else may be wrong with it shows
    /// when it is used.
    fn format(&self) -> Option<&'static str> {
        let mirror = &self.directories.mirror;
        let config = fs::read_to_string(mirror.join("config")).ok()?;
        let is_made = mirror.join("HEAD").is_file() && mirror.join("objects").is_dir();
        let is_long = config.to_ascii_lowercase().contains("objectformat = sha256");
        is_made.then_some(if is_long { "sha256" } else { "sha1" })
    }

    fn make_anew(&self, sha: &CommitSha) -> Result<(), FetchError> {
        // Only what is inside: the confined git may not touch the directory above.
        empty(&self.directories.mirror).map_err(|source| self.io(source))?;
        let format = format!("--object-format={}", object_format(sha));
        let made = self.run(&["init", "--quiet", "--bare", "--template=", &format])?;
        if made.status.success() { Ok(()) } else { Err(self.failed(&made)) }
    }

    fn failed(&self, said: &Said) -> FetchError {
        FetchError::Failed { url: self.url.clone(), said: essence(&said.stderr) }
    }

    fn fetch_once(&self, wanted: &Wanted<'_>) -> Result<Found, Attempt> {
        let own = Self::build_ref(wanted.build);
        if self.resolve(&own)?.as_deref() == Some(wanted.sha.as_str()) {
            return Ok(Found::Already);
        }
        let git_ref = wanted.git_ref.to_string();
        match self.fetch_ref(&git_ref, &own)? {
            Fetched::Yes => {}
            Fetched::NoSuchRef => {
                let (git_ref, url) = (wanted.git_ref.clone(), self.url.clone());
                return Err(Attempt::Final(FetchError::NoRef { git_ref, url }));
            }
        }
        if self.resolve(&own)?.as_deref() == Some(wanted.sha.as_str()) {
            return Ok(Found::Tip);
        }
        let passed = self.run(&["merge-base", "--is-ancestor", wanted.sha.as_str(), &own])?;
        if passed.status.success() {
            let set = self.run(&["update-ref", &own, wanted.sha.as_str()])?;
            return if set.status.success() {
                Ok(Found::Passed)
            } else {
                Err(Attempt::Unclear(self.failed(&set)))
            };
        }
        match self.fetch_ref(wanted.sha.as_str(), &own)? {
            Fetched::Yes => Ok(Found::Aside),
            Fetched::NoSuchRef => {
                // What was fetched instead must not pass for the build's commit.
                self.run(&["update-ref", "-d", &own])?;
                let (git_ref, sha) = (wanted.git_ref.clone(), wanted.sha.clone());
                Err(Attempt::Final(FetchError::NoCommit { git_ref, sha }))
            }
        }
    }

    /// Fetches one ref or commit, again and again while the network is at fault.
    fn fetch_ref(&self, from: &str, to: &str) -> Result<Fetched, Attempt> {
        let refspec = format!("+{from}:{to}");
        let mut arguments = FETCH.to_vec();
        arguments.extend(["--", self.url.as_str(), &refspec]);
        let mut pauses = self.pauses.iter();
        let mut tries = 1;
        loop {
            let said = self.run(&arguments)?;
            if said.status.success() {
                return Ok(Fetched::Yes);
            }
            let (url, words) = (self.url.clone(), essence(&said.stderr));
            if said.late {
                // Not again: it has cost enough.
                let patience = self.git.patience();
                return Err(Attempt::Final(FetchError::Late { url, patience }));
            }
            match (Trouble::of(&said.stderr), pauses.next()) {
                (Trouble::NoSuchRef, _) => return Ok(Fetched::NoSuchRef),
                (Trouble::Refused, _) => {
                    return Err(Attempt::Final(FetchError::Refused { url, said: words }));
                }
                (Trouble::Other, _) => return Err(Attempt::Unclear(self.failed(&said))),
                (Trouble::Network, None) => {
                    return Err(Attempt::Final(FetchError::Network { url, tries, said: words }));
                }
                (Trouble::Network, Some(pause)) => {
                    warn!("{url}: {words}; trying again in {} s", pause.as_secs());
                    thread::sleep(*pause);
                    tries += 1;
                }
            }
        }
    }

    fn resolve(&self, name: &str) -> Result<Option<String>, FetchError> {
        // Most often it has just been fetched, or is not there yet: git's own files say so without
        // a git (gitrepository-layout(5)), and git is asked where they do not.
        let mirror = &self.directories.mirror;
        match fs::read_to_string(mirror.join(name)) {
            Ok(text) if text.trim().parse::<CommitSha>().is_ok() => {
                return Ok(Some(text.trim().to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = fs::read_to_string(mirror.join("packed-refs")).unwrap_or_default();
                if !mirror.join("reftable").exists() && !packed.contains(name) {
                    return Ok(None);
                }
            }
            _ => {}
        }
        let said = self.run(&["rev-parse", "--quiet", "--verify", name])?;
        Ok(said.status.success().then(|| said.text()))
    }

    /// Whether the commit and every file in it can be read.
    fn is_whole(&self, sha: &CommitSha) -> Result<bool, FetchError> {
        let said = self.run(&["rev-list", "--objects", "--no-walk", "--quiet", sha.as_str()])?;
        Ok(said.status.success())
    }

    /// Whether everything that the refs reach is there.
    fn is_sound(&self) -> Result<bool, FetchError> {
        Ok(self.run(&["fsck", "--connectivity-only", "--no-dangling"])?.status.success())
    }
}

const REFS: &str = "refs/kennel/builds/";

const FETCH: [&str; 8] = [
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
    "--force",
];

enum Fetched {
    Yes,
    NoSuchRef,
}

/// One try ended without the commit.
enum Attempt {
    /// And another mirror would not help.
    Final(FetchError),
    /// And the mirror may be the reason.
    Unclear(FetchError),
}

impl From<FetchError> for Attempt {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

fn object_format(sha: &CommitSha) -> &'static str {
    if sha.as_str().len() == 64 { "sha256" } else { "sha1" }
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Locks and half-written packs of a git that was killed.
fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name.starts_with("tmp_objdir") {
                fs::remove_dir_all(entry.path())?;
            } else {
                remove_leftovers(&entry.path())?;
            }
        } else if name.ends_with(".lock") || name.starts_with("tmp_") || name.starts_with(".tmp-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
