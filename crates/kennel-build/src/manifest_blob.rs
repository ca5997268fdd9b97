//! `kennel.toml` as the commit has it, read without a checkout.

use kennel_core::CommitSha;

use crate::mirror::{FetchError, Mirror};

/// Longer than any that people write, short enough for a row.
const LARGEST: u64 = 256 << 10;

/// The file is not there, or is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// Nobody wrote one.
    #[error("kennel.toml is missing at the root of {}; write one with [services.<name>] or [static_sites.<name>]", .0.short())]
    Missing(CommitSha),
    /// It is a link, a directory or a submodule.
    #[error("kennel.toml is {what} in {}; it must be a plain file", .sha.short())]
    NotAFile {
        /// The commit.
        sha: CommitSha,
        /// What it is.
        what: &'static str,
    },
    /// Nobody wrote that by hand.
    #[error("kennel.toml has {size} bytes; at most {LARGEST} are read")]
    TooLarge {
        /// In bytes.
        size: u64,
    },
    /// TOML is UTF-8.
    #[error("kennel.toml is not UTF-8: byte {0} is no character")]
    NotText(usize),
    /// Git failed.
    #[error("git cannot read kennel.toml of {}: {said}", .sha.short())]
    Unreadable {
        /// The commit.
        sha: CommitSha,
        /// Git's words.
        said: String,
    },
    /// Git cannot be run.
    #[error(transparent)]
    Mirror(#[from] FetchError),
}

/// The text of the commit's `kennel.toml`.
///
/// # Errors
/// Any [`BlobError`].
pub(crate) fn read(mirror: &Mirror<'_>, sha: &CommitSha) -> Result<String, BlobError> {
    let unreadable =
        |said: &str| BlobError::Unreadable { sha: sha.clone(), said: said.trim().into() };
    let listed =
        mirror.run(&["ls-tree", "-l", "-z", "--full-tree", sha.as_str(), "--", "kennel.toml"])?;
    if !listed.status.success() {
        return Err(unreadable(&listed.stderr));
    }
    let line = listed.text();
    // `<mode> <type> <object> <size>\t<path>\0`
    let Some((entry, _path)) = line.split_once('\t') else {
        return Err(BlobError::Missing(sha.clone()));
    };
    let mut fields = entry.split_ascii_whitespace();
    let mode = fields.next().unwrap_or_default();
    let object = fields.nth(1).unwrap_or_default();
    let not_a_file = |what| BlobError::NotAFile { sha: sha.clone(), what };
    match mode {
        "100644" | "100755" | "100664" => {}
        "120000" => return Err(not_a_file("a symbolic link")),
        "040000" => return Err(not_a_file("a directory")),
        "160000" => return Err(not_a_file("a submodule")),
        _ => return Err(not_a_file("something unknown")),
    }
    let size = fields.next().unwrap_or_default();
    let size = size.parse().map_err(|_not_a_number| unreadable("git does not say its size"))?;
    if size > LARGEST {
        return Err(BlobError::TooLarge { size });
    }
    let blob = mirror.run(&["cat-file", "blob", object])?;
    if !blob.status.success() {
        return Err(unreadable(&blob.stderr));
    }
    String::from_utf8(blob.stdout)
        .map_err(|error| BlobError::NotText(error.utf8_error().valid_up_to() + 1))
}
