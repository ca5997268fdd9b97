//! For which system Nix builds here, such as `x86_64-linux`: asked once, and remembered until Nix
//! or its configuration is another. A start of Nix costs more than most steps of a build.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What was answered the last time, as one project's cache has it.
#[derive(Debug)]
pub(crate) struct Remembered {
    file: PathBuf,
    stamp: String,
}

/// Where Nix looks for its configuration (nix.conf(5)); users' files are not read for builds.
const SETTINGS: &str = "/etc/nix";

/// After so long it is asked again: its configuration may include files from anywhere.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Remembered {
    /// In the directory `cache`, of the Nix that `program` is.
    pub(crate) fn of(cache: &Path, program: &Path) -> Self {
        Self::with_settings(cache, program, Path::new(SETTINGS))
    }

    fn with_settings(cache: &Path, program: &Path, settings: &Path) -> Self {
        Self { file: cache.join("nix-system"), stamp: stamp(program, settings) }
    }

    /// The system, if it still holds.
    pub(crate) fn system(&self) -> Option<String> {
        let age = fs::metadata(&self.file).ok()?.modified().ok()?.elapsed().ok()?;
        let text = fs::read_to_string(&self.file).ok()?;
        let (system, stamp) = text.split_once('\n')?;
        (age < LONGEST && stamp == self.stamp && is_plain(system)).then(|| system.to_owned())
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// Whatever keeps the file from being written.
    pub(crate) fn keep(&self, system: &str) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{system}\n{}", self.stamp))?;
        fs::rename(&new, &self.file)
    }
}

/// Whether it can become a part of an attribute path.
pub(crate) fn is_plain(system: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !system.is_empty() && system.bytes().all(plain)
}

/// Changes when Nix or its configuration does.
fn stamp(program: &Path, settings: &Path) -> String {
    let entries = fs::read_dir(settings).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, program.to_path_buf());
    let mut stamp = String::new();
    for file in files {
        // Where a file is a link into the Nix store, its time says nothing and its path everything.
        let file = file.canonicalize().unwrap_or(file);
        let (size, changed) = fs::metadata(&file).map_or((0, 0), |metadata| {
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            (metadata.len(), changed.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
        });
        // Writing to a String cannot fail.
        let _ = writeln!(stamp, "{} {size} {changed}", file.display());
    }
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("settings")).unwrap();
            fs::write(dir.path().join("nix"), "a program").unwrap();
            fs::write(dir.path().join("settings/nix.conf"), "sandbox = true\n").unwrap();
            Self { dir }
        }

        fn remembered(&self) -> Remembered {
            let dir = self.dir.path();
            Remembered::with_settings(dir, &dir.join("nix"), &dir.join("settings"))
        }
    }

    #[test]
    fn holds_while_nothing_changes() {
        let fixture = Fixture::new();
        assert_eq!(fixture.remembered().system(), None);
        fixture.remembered().keep("x86_64-linux").unwrap();
        assert_eq!(fixture.remembered().system().as_deref(), Some("x86_64-linux"));
    }

    #[test]
    fn another_nix_or_configuration_is_asked() {
        for changed in ["nix", "settings/nix.conf", "settings/more.conf"] {
            let fixture = Fixture::new();
            fixture.remembered().keep("x86_64-linux").unwrap();
            fs::write(fixture.dir.path().join(changed), "system = aarch64-linux\n").unwrap();
            assert_eq!(fixture.remembered().system(), None, "{changed}");
        }
    }

    #[test]
    fn an_old_or_broken_answer_is_asked_again() {
        let fixture = Fixture::new();
        let remembered = fixture.remembered();
        remembered.keep("x86_64-linux").unwrap();
        let file = fs::File::options().append(true).open(&remembered.file).unwrap();
        file.set_modified(SystemTime::now() - LONGEST).unwrap();
        assert_eq!(remembered.system(), None);
        remembered.keep("x86_64-linux; true").unwrap();
        assert_eq!(remembered.system(), None);
        fs::write(&remembered.file, "x86_64").unwrap();
        assert_eq!(remembered.system(), None);
    }
}
