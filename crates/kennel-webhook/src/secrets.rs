//! The projects' webhook secrets, as they were when the program started.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use hmac::KeyInit;
use kennel_core::ProjectName;
use tracing::warn;

use crate::signature::HmacSha256;

/// What systemd puts before a file's name when a directory is handed over as the credential
/// `webhook` (systemd.exec(5), `LoadCredential=`). No project's name has a `_`.
const CREDENTIAL_PREFIX: &str = "webhook_";

/// One HMAC key per project, and one for projects that are not there.
pub struct Secrets {
    keys: HashMap<ProjectName, HmacSha256>,
    // Random for each process: with it an unknown project takes the very path of a known one.
    nobody: HmacSha256,
}

/// The secrets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The directory or a file in it.
    #[error("cannot read {}; without the secrets no delivery can be verified", .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] io::Error),
}

impl Secrets {
    /// Reads a credentials directory: the files `webhook_<project>`, and no others.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn from_credentials(directory: &Path) -> Result<Self, SecretsError> {
        Self::load(directory, CREDENTIAL_PREFIX)
    }

    /// Reads a directory of files `<project>`.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn from_directory(directory: &Path) -> Result<Self, SecretsError> {
        Self::load(directory, "")
    }

    /// How many projects have a secret.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no project has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The project's keyed HMAC and whether there is such a project; for any other text a key that
    /// nobody knows.
    pub(crate) fn key(&self, project: Option<&ProjectName>) -> (HmacSha256, bool) {
        match project.and_then(|project| self.keys.get(project)) {
            Some(key) => (key.clone(), true),
            None => (self.nobody.clone(), false),
        }
    }

    fn load(directory: &Path, prefix: &str) -> Result<Self, SecretsError> {
        let in_directory = |source| SecretsError::Read { path: directory.to_owned(), source };
        let mut keys = HashMap::new();
        for entry in directory.read_dir().map_err(in_directory)? {
            let entry = entry.map_err(in_directory)?;
            let name = entry.file_name();
            let Some(project) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else {
                continue;
            };
            let project: ProjectName = match project.parse() {
                Ok(project) => project,
                Err(error) => {
                    warn!("webhook secret {}: {error}, ignoring it", name.display());
                    continue;
                }
            };
            let path = entry.path();
            let text =
                std::fs::read(&path).map_err(|source| SecretsError::Read { path, source })?;
            let secret = text.strip_suffix(b"\n").unwrap_or(&text);
            // HMAC takes keys of every length, so that only the empty one is left out here.
            match HmacSha256::new_from_slice(secret) {
                Ok(key) if !secret.is_empty() => {
                    keys.insert(project, key);
                }
                _ => warn!(
                    %project,
                    "the webhook secret of {project} is empty, refusing its deliveries until \
                     there is one"
                ),
            }
        }
        Ok(Self { keys, nobody: random_key()? })
    }
}

fn random_key() -> Result<HmacSha256, SecretsError> {
    let mut key = [0; 64];
    // A read of up to 256 bytes is never cut short (getrandom(2)).
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| SecretsError::Random(error.into()))?;
    Ok(HmacSha256::new(&key.into()))
}

#[cfg(test)]
mod tests {
    use hmac::Mac;

    use super::*;

    fn tag(mut key: HmacSha256, body: &[u8]) -> Vec<u8> {
        key.update(body);
        key.finalize().into_bytes().to_vec()
    }

    fn with(secret: &[u8]) -> HmacSha256 {
        HmacSha256::new_from_slice(secret).unwrap()
    }

    #[test]
    fn one_newline_at_the_end_is_not_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |name: &str, secret: &str| std::fs::write(dir.path().join(name), secret).unwrap();
        write("plain", "s3cret");
        write("newline", "s3cret\n");
        write("two", "s3cret\n\n");
        write("empty", "");
        write("blank", "\n");
        write("Not-A-Project", "s3cret");
        let secrets = Secrets::from_directory(dir.path()).unwrap();
        assert_eq!(secrets.len(), 3);
        for (name, secret) in [("plain", "s3cret"), ("newline", "s3cret"), ("two", "s3cret\n")] {
            let (key, known) = secrets.key(name.parse().ok().as_ref());
            assert!(known);
            assert_eq!(tag(key, b"x"), tag(with(secret.as_bytes()), b"x"), "{name}");
        }
    }

    #[test]
    fn only_webhook_credentials_are_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("webhook_site"), "a").unwrap();
        std::fs::write(dir.path().join("token"), "b").unwrap();
        let secrets = Secrets::from_credentials(dir.path()).unwrap();
        assert_eq!(secrets.len(), 1);
        assert!(secrets.key("site".parse().ok().as_ref()).1);
    }

    #[test]
    fn nobody_has_a_key_too_and_a_new_one_each_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "\n").unwrap();
        let one = Secrets::from_directory(dir.path()).unwrap();
        let two = Secrets::from_directory(dir.path()).unwrap();
        let of = |secrets: &Secrets, project: &str| {
            let (key, known) = secrets.key(project.parse().ok().as_ref());
            assert!(!known);
            tag(key, b"x")
        };
        assert_eq!(of(&one, "absent"), of(&one, "empty"));
        assert_eq!(of(&one, "absent"), of(&one, "NOT/A/NAME"));
        assert_ne!(of(&one, "absent"), of(&two, "absent"));
        assert_ne!(of(&one, "empty"), tag(with(b""), b"x"));
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let error = Secrets::from_directory(Path::new("/nonexistent/secrets")).err().unwrap();
        insta::assert_snapshot!(error, @"cannot read /nonexistent/secrets; without the secrets no delivery can be verified");
    }
}
