//! Tokens of the API: one file each, written by root and read by kennel-api.
//!
//! Files and no rows: kennelctl writes no database, and a token is taken back the moment that its
//! file is gone, whatever else runs. What is kept is a hash. A plain SHA-256 is enough: a slow one
//! (argon2) makes guessing dear where few secrets are likely, and of 2^256 none is likelier than
//! another.

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use kennel_core::{Layout, ProjectName, SecretValue, Timestamp, TokenName, TokenRight};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::whole_file;

/// What every token begins with, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "kennel_";

/// Random bytes of a token.
const RANDOM: usize = 32;

/// Tokens at most: each request with one looks at all of them.
const MOST: usize = 1000;

/// All tokens of a host.
#[derive(Debug, Clone)]
pub struct Tokens {
    directory: PathBuf,
}

/// One token, without itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called.
    pub name: TokenName,
    /// Whose builds it is for.
    pub projects: BTreeSet<ProjectName>,
    /// What it allows.
    pub right: TokenRight,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whose login made it, for display.
    pub created_by: String,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    hash: [u8; RANDOM],
}

/// What is to become a token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is called.
    pub name: TokenName,
    /// Whose builds it is for.
    pub projects: BTreeSet<ProjectName>,
    /// What it allows.
    pub right: TokenRight,
    /// When it is made.
    pub created_at: Timestamp,
    /// Whose login makes it, for display.
    pub created_by: String,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

/// A token cannot be made, read or taken back.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// A file cannot be read, written or removed.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// `read`, `write` or `remove`.
        verb: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was not written by Kennel.
    #[error("{} describes no token; remove it", .path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is one of that name.
    #[error("there is a token {0} already; revoke it first, or take another name")]
    Taken(TokenName),
    /// There are [`MOST`].
    #[error("there are {MOST} tokens already; revoke those that nobody needs")]
    TooMany,
    /// The kernel gives no random bytes.
    #[error("there are no random bytes to make a token of")]
    Random(#[source] io::Error),
}

impl TokensError {
    /// What may not be opened, if that is what is wrong.
    #[must_use]
    pub fn denied(&self) -> Option<&Path> {
        match self {
            Self::File { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(path)
            }
            Self::File { .. }
            | Self::Bad { .. }
            | Self::Taken(_)
            | Self::TooMany
            | Self::Random(_) => None,
        }
    }
}

/// A token's file. Its name is the file's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    sha256: String,
    projects: BTreeSet<ProjectName>,
    right: TokenRight,
    created_at: Timestamp,
    created_by: String,
    expires_at: Timestamp,
}

impl Tokens {
    /// Those of a host. Looks at nothing yet.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { directory: layout.tokens() }
    }

    /// Makes one. What is returned is kept nowhere.
    ///
    /// # Errors
    /// Any [`TokensError`]; then there is no such token.
    pub fn create(&self, new: NewToken) -> Result<SecretValue, TokensError> {
        let path = self.file(&new.name);
        let known = self.paths()?;
        if known.contains(&path) {
            return Err(TokensError::Taken(new.name));
        }
        if known.len() >= MOST {
            return Err(TokensError::TooMany);
        }
        let mut random = [0; RANDOM];
        // So few bytes come whole (getrandom(2)).
        getrandom(&mut random, GetRandomFlags::empty())
            .map_err(|error| TokensError::Random(error.into()))?;
        let token = format!("{PREFIX}{}", hex::encode(random));
        let NewToken { name: _, projects, right, created_at, created_by, expires_at } = new;
        let sha256 = hex::encode(hash(&token));
        let kept = Kept { sha256, projects, right, created_at, created_by, expires_at };
        let bad = |source| TokensError::Bad { path: path.clone(), source };
        let text = serde_json::to_string_pretty(&kept).map_err(bad)?;
        // The directory's set-group-ID bit gives it kennel-api's group.
        whole_file::replace(&path, &(text + "\n"), 0o640).map_err(failed("write", &path))?;
        SecretValue::from_bytes(token.into_bytes())
            .map_err(|_| TokensError::Random(io::ErrorKind::InvalidData.into()))
    }

    /// All there are, by name, or why one of them cannot be used. Expired ones, too.
    ///
    /// # Errors
    /// [`TokensError::File`] if the directory cannot be read; a missing one has no tokens.
    pub fn all(&self) -> Result<Vec<Result<Token, TokensError>>, TokensError> {
        Ok(self.paths()?.into_iter().filter_map(|path| load(&path).transpose()).collect())
    }

    /// Takes a token back; that one, if there is one.
    ///
    /// # Errors
    /// Any [`TokensError`]; one that describes no token is removed all the same.
    pub fn revoke(
        &self,
        name: &TokenName,
    ) -> Result<Option<Result<Token, TokensError>>, TokensError> {
        let path = self.file(name);
        let Some(token) = load(&path).transpose() else { return Ok(None) };
        if let Err(error @ TokensError::File { .. }) = token {
            return Err(error);
        }
        whole_file::remove(&path).map_err(failed("remove", &path))?;
        Ok(Some(token))
    }

    /// The token that this text is, if it is worth something now.
    ///
    /// # Errors
    /// [`TokensError::File`] if the directory cannot be read. What else is wrong with a file is
    /// for `kennelctl token list` to say: it is no token.
    pub fn find(&self, text: &str, now: Timestamp) -> Result<Option<Token>, TokensError> {
        // Whoever guesses wildly costs no look at the disk.
        let random = text.strip_prefix(PREFIX).unwrap_or_default();
        if random.len() != 2 * RANDOM || !random.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let asked = hash(text);
        let mut found = None;
        for token in self.all()?.into_iter().flatten() {
            // To the end, so that the time says nothing about which of them it is.
            if is_same(&token.hash, &asked) {
                found = Some(token);
            }
        }
        Ok(found.filter(|token| now < token.expires_at))
    }

    fn file(&self, name: &TokenName) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// The files that are named after tokens, by name.
    fn paths(&self) -> Result<BTreeSet<PathBuf>, TokensError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(failed("read", &self.directory))?,
        };
        let mut paths = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(failed("read", &self.directory))?.path();
            if name_of(&path).is_some() {
                paths.insert(path);
            }
        }
        Ok(paths)
    }
}

fn name_of(path: &Path) -> Option<TokenName> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

/// None if it was taken back meanwhile.
fn load(path: &Path) -> Result<Option<Token>, TokensError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(failed("read", path))?,
    };
    let bad = |source| TokensError::Bad { path: path.into(), source };
    let Kept { sha256, projects, right, created_at, created_by, expires_at } =
        serde_json::from_str(&text).map_err(bad)?;
    let mut hash = [0; RANDOM];
    hex::decode_to_slice(sha256, &mut hash)
        .map_err(|error| bad(serde::de::Error::custom(error)))?;
    let Some(name) = name_of(path) else { return Ok(None) };
    Ok(Some(Token { name, projects, right, created_at, created_by, expires_at, hash }))
}

fn hash(token: &str) -> [u8; RANDOM] {
    Sha256::digest(token).into()
}

/// In a time that does not depend on where they differ.
fn is_same(one: &[u8; RANDOM], other: &[u8; RANDOM]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (a, b)| black_box(differ | (a ^ b)));
    differ == 0
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TokensError {
    let path = path.to_owned();
    move |source| TokensError::File { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::under(dir.path());
        fs::create_dir_all(layout.tokens()).unwrap();
        (dir, Tokens::of(&layout))
    }

    fn new(name: &str) -> NewToken {
        NewToken {
            name: name.parse().unwrap(),
            projects: BTreeSet::from(["site".parse().unwrap()]),
            right: TokenRight::Cancel,
            created_at: at(1),
            created_by: "ada".into(),
            expires_at: at(100),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn is_found_until_it_expires_or_is_revoked() {
        let (_dir, tokens) = tokens();
        let one = tokens.create(new("one")).unwrap();
        let two = tokens.create(new("two")).unwrap();
        let found = |value: &SecretValue, now| {
            tokens.find(value.reveal(), now).unwrap().map(|token| token.name.to_string())
        };
        assert_eq!(found(&one, at(99)).as_deref(), Some("one"));
        assert_eq!(found(&two, at(99)).as_deref(), Some("two"));
        assert_eq!(found(&one, at(100)), None);
        let revoked = tokens.revoke(&"one".parse().unwrap()).unwrap().unwrap().unwrap();
        assert_eq!((revoked.right, revoked.created_by.as_str()), (TokenRight::Cancel, "ada"));
        assert_eq!(found(&one, at(2)), None);
        assert_eq!(found(&two, at(2)).as_deref(), Some("two"));
        assert!(tokens.revoke(&"one".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn nothing_else_is_a_token() {
        let (_dir, tokens) = tokens();
        let one = tokens.create(new("one")).unwrap();
        let right = one.reveal();
        let kept = fs::read_to_string(tokens.file(&"one".parse().unwrap())).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
        let hash = format!("{PREFIX}{}", kept["sha256"].as_str().unwrap());
        let last = if right.ends_with('0') { "1" } else { "0" };
        let other = format!("{}{last}", &right[..right.len() - 1]);
        let random = &right[PREFIX.len()..];
        for text in ["", PREFIX, "one", random, &right[1..], &format!("{right}0"), &other, &hash] {
            assert_eq!(tokens.find(text, at(2)).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn two_of_one_name_there_are_not() {
        let (_dir, tokens) = tokens();
        let first = tokens.create(new("one")).unwrap();
        assert!(matches!(tokens.create(new("one")), Err(TokensError::Taken(_))));
        assert!(tokens.find(first.reveal(), at(2)).unwrap().is_some());
    }

    #[test]
    fn the_file_has_no_token_and_is_not_for_everybody() {
        let (_dir, tokens) = tokens();
        let one = tokens.create(new("one")).unwrap();
        assert_eq!(one.reveal().len(), PREFIX.len() + 64);
        let path = tokens.file(&"one".parse().unwrap());
        let kept = fs::read_to_string(&path).unwrap();
        assert!(!kept.contains(&one.reveal()[PREFIX.len()..]), "{kept}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_bad_file_is_told_and_spoils_no_other() {
        let (_dir, tokens) = tokens();
        let one = tokens.create(new("one")).unwrap();
        fs::write(tokens.file(&"bad".parse().unwrap()), "{").unwrap();
        fs::write(tokens.directory.join(".one.json.new"), "left by a killed run").unwrap();
        assert!(tokens.find(one.reveal(), at(2)).unwrap().is_some());
        let all = tokens.all().unwrap();
        assert!(matches!(all.as_slice(), [Err(TokensError::Bad { .. }), Ok(_)]), "{all:?}");
        assert!(matches!(tokens.revoke(&"bad".parse().unwrap()), Ok(Some(Err(_)))));
        assert_eq!(tokens.all().unwrap().len(), 1);
    }
}
