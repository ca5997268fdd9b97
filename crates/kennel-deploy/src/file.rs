//! Files, links, directories and locks, with errors that name them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use kennel_store::whole_file;
use rustix::fs::{FlockOperation, flock};

use crate::DeployError;

/// As [`whole_file::replace`].
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), DeployError> {
    whole_file::replace(path, text, mode).map_err(DeployError::file("write", path))
}

/// [`replace`], unless the file says so already: a unit that runs is not made to look outdated by the
/// same text. Returns whether it did not.
pub(crate) fn replace_other(path: &Path, text: &str, mode: u32) -> Result<bool, DeployError> {
    if says(path, text) {
        return Ok(false);
    }
    replace(path, text, mode)?;
    Ok(true)
}

/// Whether the file is there and has this text.
pub(crate) fn says(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|current| current == text)
}

/// As [`whole_file::replace_link`].
pub(crate) fn replace_link(link: &Path, target: &Path) -> Result<(), DeployError> {
    whole_file::replace_link(link, target).map_err(DeployError::file("link", link))
}

/// As [`whole_file::remove`].
pub(crate) fn remove(path: &Path) -> Result<(), DeployError> {
    whole_file::remove(path).map(drop).map_err(DeployError::file("remove", path))
}

/// As [`whole_file::make_private_dir`].
pub(crate) fn make_private_dir(path: &Path) -> Result<(), DeployError> {
    whole_file::make_private_dir(path).map_err(DeployError::file("make", path))
}

/// Removes a directory if it is there and empty.
pub(crate) fn remove_empty_dir(path: &Path) -> Result<(), DeployError> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(DeployError::file("remove", path)(error)),
    }
}

/// Waits for a lock and holds it until the answer is dropped.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<File, DeployError> {
    let locked = || {
        let file = File::options().create(true).append(true).open(path)?;
        flock(&file, operation)?;
        Ok(file)
    };
    locked().map_err(DeployError::file("lock", path))
}
