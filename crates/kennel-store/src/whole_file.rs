//! Files that appear whole or not at all, for whoever must survive being killed while writing one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Replaces `path` by a file with this text and mode: written and synced under a temporary name
/// made with 0600 in the same directory, then renamed, then the directory synced.
///
/// # Errors
/// Whatever step fails; then `path` is as it was, or already the new one.
pub fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    put(path, |temporary| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    })
}

/// Makes `link` point to `target`, whatever it was before, with no moment without it.
///
/// # Errors
/// As [`replace`].
pub fn replace_link(link: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    put(link, |temporary| symlink(target, temporary))
}

/// Removes a file or link, and what a run that was killed left beside it. Says whether there was
/// one.
///
/// # Errors
/// Whatever keeps it there.
pub fn remove(path: &Path) -> io::Result<bool> {
    remove_if_there(&temporary(path))?;
    remove_if_there(path)
}

/// Makes a directory for its owner alone, if it is not there. Its parent must be.
///
/// # Errors
/// Whatever keeps it from being made.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes something beside `path` and moves it there. A full disk leaves nothing of it.
fn put(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary(path);
    // Left by a run that was killed here.
    remove_if_there(&temporary)?;
    make(&temporary).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // The first error is the one that counts.
        let _ = remove_if_there(&temporary);
    })?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The one name under which `path` is made, so that whoever comes later finds what is left of it.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.env");
        replace(&path, "A=1\n", 0o400).unwrap();
        // A run that was killed in the middle.
        fs::write(temporary(&path), "A=").unwrap();
        replace(&path, "A=2\n", 0o400).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=2\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_removed_leaves_nothing_of_a_killed_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.env");
        fs::write(temporary(&path), "A=").unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Nor does a file that cannot be put in its place.
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, "A=1\n", 0o400).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_moves_in_one_step_and_survives_a_killed_run() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("web");
        symlink("/left/over", dir.path().join(".web.new")).unwrap();
        replace_link(&link, Path::new("/a")).unwrap();
        replace_link(&link, Path::new("/b")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/b"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
