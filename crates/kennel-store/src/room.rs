//! Whether there is room to build in.

use std::io;
use std::path::{Path, PathBuf};

use kennel_core::{LEAST_FREE_SPACE, Layout};

/// There is not enough room.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// It is nearly full.
    #[error(
        "only {} MiB are free in {}, and a build needs {} MiB; remove old deployments, or run `nix-collect-garbage`",
        .free >> 20, .path.display(), LEAST_FREE_SPACE >> 20
    )]
    Full {
        /// Where.
        path: PathBuf,
        /// Bytes that an ordinary user can still write.
        free: u64,
    },
    /// Nobody knows.
    #[error("cannot see how much space is free in {}", .path.display())]
    Unknown {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Looks at the store and at Kennel's own directory.
///
/// # Errors
/// [`NoRoom::Full`] if less than 1 GiB is free in either of them.
pub fn check_room(layout: &Layout) -> Result<(), NoRoom> {
    for path in ["/nix/store", "/var/lib/kennel"] {
        check_at(&layout.host_path(Path::new(path)), LEAST_FREE_SPACE)?;
    }
    Ok(())
}

fn check_at(path: &Path, least: u64) -> Result<(), NoRoom> {
    // A store that is not there yet will lie where its parent lies.
    let present = path.ancestors().find(|path| path.exists()).unwrap_or(path);
    let room = rustix::fs::statvfs(present)
        .map_err(|error| NoRoom::Unknown { path: path.into(), source: error.into() })?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < least {
        return Err(NoRoom::Full { path: path.into(), free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_there_is_and_how_much_there_must_be() {
        assert!(check_at(Path::new("/nonexistent/store"), 1).is_ok());
        assert!(check_at(Path::new("/"), u64::MAX).is_err());
        let error = NoRoom::Full { path: "/nix/store".into(), free: 300 << 20 };
        insta::assert_snapshot!(error, @"only 300 MiB are free in /nix/store, and a build needs 1024 MiB; remove old deployments, or run `nix-collect-garbage`");
    }
}
