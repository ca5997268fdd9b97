//! A project's cache, the HOME of its git and Nix: builds share it, and who empties it has it alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What of a cache is kept when it is emptied: builds wait for these.
const LOCKS: &str = ".lock";

/// Has the cache to oneself and other builds, until the file is dropped; waits while it is emptied.
pub(crate) fn share(cache: &Path) -> io::Result<File> {
    let file = lock_file(cache)?;
    file.lock_shared()?;
    Ok(file)
}

/// Has the cache to oneself, until the file is dropped; none while a build uses it.
pub(crate) fn take(cache: &Path) -> io::Result<Option<File>> {
    let file = lock_file(cache)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_file(cache: &Path) -> io::Result<File> {
    File::create(cache.join(format!("builds{LOCKS}")))
}

/// The bytes that everything below takes on the disk. Builds may remove some of it meanwhile.
pub(crate) fn size(directory: &Path) -> io::Result<u64> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(0),
        entries => entries?,
    };
    let mut size = 0;
    for entry in entries {
        let entry = entry?;
        // Of a link itself, not of what it leads to.
        let metadata = match entry.metadata() {
            Err(error) if gone(&error) => continue,
            metadata => metadata?,
        };
        size += metadata.blocks().saturating_mul(512);
        if metadata.is_dir() {
            size += self::size(&entry.path())?;
        }
    }
    Ok(size)
}

/// Removes everything but the locks.
pub(crate) fn empty(cache: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if !entry.file_name().to_string_lossy().ends_with(LOCKS) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn builds_share_it_and_who_empties_it_waits_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (share(dir.path()).unwrap(), share(dir.path()).unwrap());
        assert!(take(dir.path()).unwrap().is_none());
        drop(one);
        assert!(take(dir.path()).unwrap().is_none());
        drop(two);
        assert!(take(dir.path()).unwrap().is_some());
    }

    #[test]
    fn size_counts_what_is_below_and_emptying_keeps_the_locks() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("large"), vec![1; 1 << 20]).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/c"), vec![1; 100 << 10]).unwrap();
        symlink(elsewhere.path(), dir.path().join("a/link")).unwrap();
        fs::write(dir.path().join(".gitconfig"), "").unwrap();
        fs::write(dir.path().join("mirror.lock"), "").unwrap();
        let size = size(dir.path()).unwrap();
        assert!((100 << 10..300 << 10).contains(&size), "{size}");
        empty(dir.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["mirror.lock"]);
        assert!(elsewhere.path().join("large").exists());
    }
}
