//! `kennel.toml` as the commit has it, read without a checkout.

use kennel_core::CommitSha;

use crate::mirror::{FetchError, Mirror};
use crate::objects::Object;

/// Longer than any that people write, short enough for a row.
const LARGEST: u64 = 256 << 10;

/// The file is not there, or is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// Nobody wrote one.
    #[error("kennel.toml is missing at the root of {}; write one with [services.<name>], [workers.<name>], [timers.<name>] or [static_sites.<name>]", .0.short())]
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
    let unreadable = |said: String| BlobError::Unreadable { sha: sha.clone(), said };
    let mut objects = mirror.objects()?;
    let mut read =
        |name: &str, most| objects.read(name, most).map_err(|error| unreadable(error.to_string()));
    let root = match read(&format!("{sha}^{{tree}}"), LARGEST_TREE)? {
        Object::Whole(root) => root,
        Object::Missing => return Err(unreadable("it has no tree".into())),
        Object::TooLarge(size) => return Err(unreadable(format!("its root has {size} bytes"))),
    };
    let Some(Entry { mode, id }) = entry(&root, b"kennel.toml", sha.as_str().len() / 2) else {
        return Err(BlobError::Missing(sha.clone()));
    };
    let not_a_file = |what| Err(BlobError::NotAFile { sha: sha.clone(), what });
    match mode {
        b"100644" | b"100755" | b"100664" => {}
        b"120000" => return not_a_file("a symbolic link"),
        b"40000" => return not_a_file("a directory"),
        b"160000" => return not_a_file("a submodule"),
        _ => return not_a_file("something unknown"),
    }
    match read(&hex::encode(id), LARGEST)? {
        Object::Whole(text) => String::from_utf8(text)
            .map_err(|error| BlobError::NotText(error.utf8_error().valid_up_to() + 1)),
        Object::TooLarge(size) => Err(BlobError::TooLarge { size }),
        Object::Missing => Err(unreadable("it is not in the mirror".into())),
    }
}

/// Names and modes of a directory's files, tens of thousands of them.
const LARGEST_TREE: u64 = 16 << 20;

/// An entry of a tree.
struct Entry<'t> {
    /// In octal digits, without leading zeros.
    mode: &'t [u8],
    /// The object, not in hexadecimal digits.
    id: &'t [u8],
}

/// The entry of this name. Entries are `<mode> <name>\0<id>`, nothing between two of them
/// (gitformat-pack(5) has the same bytes in packs).
fn entry<'t>(mut tree: &'t [u8], name: &[u8], id_length: usize) -> Option<Entry<'t>> {
    loop {
        let space = tree.iter().position(|byte| *byte == b' ')?;
        let (mode, rest) = (tree.get(..space)?, tree.get(space + 1..)?);
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (own_name, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
        let id = rest.get(..id_length)?;
        if own_name == name {
            return Some(Entry { mode, id });
        }
        tree = rest.get(id_length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_whole_name() {
        let tree = b"100644 a\0\x00\x01100644 kennel.toml.old\0\x20\x0040000 kennel.toml\0\x02\x03";
        let found = entry(tree, b"kennel.toml", 2).unwrap();
        assert_eq!((found.mode, found.id), (&b"40000"[..], &b"\x02\x03"[..]));
        assert!(entry(tree, b"kennel", 2).is_none());
    }

    #[test]
    fn a_tree_that_breaks_off_has_no_more_entries() {
        let tree = b"100644 a\0\x00\x01100644 kennel.toml\0\x02";
        for length in 0..tree.len() {
            assert!(entry(&tree[..length], b"kennel.toml", 2).is_none());
        }
    }
}
