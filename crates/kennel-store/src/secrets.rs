//! A project's secrets: one file each, in the directory that the operator names.
//!
//! A file `NAME.cred` is sealed by systemd, and `NAME` is plain: what other tools put there, or link
//! to. Below `production` and `preview` lie those that hold for these alone. Nothing here opens a
//! seal; a plain value passes as [`SecretValue`], which does not show itself.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kennel_core::config::ProjectConfig;
use kennel_core::{
    BadSecret, Invalid, Layout, ProjectName, SecretName, SecretScope, SecretValue, Timestamp,
};

use crate::whole_file;

/// What the name of a sealed file ends in.
const SEALED: &str = ".cred";

/// More than Base64 makes of the largest value, with what systemd adds.
const LONGEST_FILE: u64 = 256 * 1024;

/// The secrets of one project.
#[derive(Debug, Clone)]
pub struct Secrets {
    directory: PathBuf,
    project: ProjectName,
}

/// One secret: where it is, not what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// For which deployments it holds.
    pub scope: SecretScope,
    /// Whether its file is sealed.
    pub is_sealed: bool,
    /// When its file was last changed.
    pub set_at: Timestamp,
    /// Its file.
    pub path: PathBuf,
}

/// What a secret's file holds.
#[derive(Debug)]
pub enum Content {
    /// Something that only systemd opens.
    Sealed(String),
    /// The value itself.
    Plain(SecretValue),
}

/// What is wrong with a secret, or with its directory.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file cannot be read, written or removed.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// `read`, `write`, `remove` or `make`.
        verb: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody can say which of the two is meant.
    #[error("{0} is there twice, plain and as {0}.cred; remove one of them")]
    Twice(PathBuf),
    /// A plain file is somebody else's: it is not replaced by a sealed one.
    #[error("{} is there already, and was not made by Kennel; change it where it comes from, or remove it", .0.display())]
    NotOurs(PathBuf),
    /// The file holds no secret.
    #[error("{} cannot be handed over: {why}", .path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: BadSecret,
    },
}

impl SecretsError {
    /// What may not be opened, if that is what is wrong.
    #[must_use]
    pub fn denied(&self) -> Option<&Path> {
        match self {
            Self::File { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(path)
            }
            Self::File { .. } | Self::Twice(_) | Self::NotOurs(_) | Self::Bad { .. } => None,
        }
    }
}

impl Secrets {
    /// Those of a project. Looks at nothing yet.
    #[must_use]
    pub fn of(layout: &Layout, project: &ProjectConfig) -> Self {
        let directory = layout.host_path(&project.secrets_dir);
        Self { directory, project: project.name.clone() }
    }

    /// The directory of the secrets of a scope.
    #[must_use]
    pub fn directory(&self, scope: SecretScope) -> PathBuf {
        match scope.directory() {
            Some(name) => self.directory.join(name),
            None => self.directory.clone(),
        }
    }

    /// What a sealed one is bound to.
    #[must_use]
    pub fn seal(&self, name: &SecretName, scope: SecretScope) -> String {
        scope.seal(&self.project, name)
    }

    /// The secret that a file holds by its name, and whether sealed.
    ///
    /// # Errors
    /// Why it is none.
    pub fn named(file: &Path) -> Result<(SecretName, bool), Invalid> {
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        match file.strip_suffix(SEALED) {
            Some(name) => Ok((name.parse()?, true)),
            None => Ok((file.parse()?, false)),
        }
    }

    /// All there are, by name. Files that are no secrets are left out.
    ///
    /// # Errors
    /// [`SecretsError::File`] if a directory cannot be read; a missing one is empty.
    pub fn list(&self) -> Result<Vec<Secret>, SecretsError> {
        let mut all = Vec::new();
        for scope in SecretScope::ALL {
            let directory = self.directory(scope);
            let failed = failed("read", &directory);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                let path = entry.map_err(&failed)?.path();
                let Ok((name, is_sealed)) = Self::named(&path) else { continue };
                // Follows links: other tools' secrets are some. One that leads nowhere is none.
                let Ok(found) = fs::metadata(&path) else { continue };
                if found.is_file() {
                    let set_at = changed(&found);
                    all.push(Secret { name, scope, is_sealed, set_at, path });
                }
            }
        }
        all.sort();
        Ok(all)
    }

    /// The first of these scopes that has the secret.
    ///
    /// # Errors
    /// [`SecretsError::File`] if it cannot be looked for, [`SecretsError::Twice`] if it is there
    /// both ways.
    pub fn find(
        &self,
        name: &SecretName,
        scopes: &[SecretScope],
    ) -> Result<Option<Secret>, SecretsError> {
        for scope in scopes {
            let plain = self.directory(*scope).join(name.as_str());
            let sealed = sealed(&plain);
            let found = match (look(&plain)?, look(&sealed)?) {
                (None, None) => continue,
                (Some(_), Some(_)) => return Err(SecretsError::Twice(plain)),
                (Some(found), None) => (found, false, plain),
                (None, Some(found)) => (found, true, sealed),
            };
            let (found, is_sealed, path) = found;
            let set_at = changed(&found);
            return Ok(Some(Secret { name: name.clone(), scope: *scope, is_sealed, set_at, path }));
        }
        Ok(None)
    }

    /// Puts a sealed value in its place. Says when the one was set that it replaced.
    ///
    /// # Errors
    /// [`SecretsError::NotOurs`] if a plain file is there, [`SecretsError::File`] if it cannot be
    /// written.
    pub fn put(
        &self,
        name: &SecretName,
        scope: SecretScope,
        sealed_value: &str,
    ) -> Result<Option<Timestamp>, SecretsError> {
        let directory = self.directory(scope);
        let plain = directory.join(name.as_str());
        if look(&plain)?.is_some() {
            return Err(SecretsError::NotOurs(plain));
        }
        for directory in [&self.directory, &directory] {
            whole_file::make_private_dir(directory).map_err(failed("make", directory))?;
        }
        let path = sealed(&plain);
        let replaced = look(&path)?.as_ref().map(changed);
        let text = format!("{}\n", sealed_value.trim_end());
        whole_file::replace(&path, &text, 0o600).map_err(failed("write", &path))?;
        Ok(replaced)
    }

    /// Removes a sealed secret. Says whether there was one.
    ///
    /// # Errors
    /// As [`Self::put`]: what Kennel did not make, it does not remove.
    pub fn remove(&self, name: &SecretName, scope: SecretScope) -> Result<bool, SecretsError> {
        let plain = self.directory(scope).join(name.as_str());
        let path = sealed(&plain);
        if whole_file::remove(&path).map_err(failed("remove", &path))? {
            return Ok(true);
        }
        match look(&plain)? {
            Some(_) => Err(SecretsError::NotOurs(plain)),
            None => Ok(false),
        }
    }
}

impl Secret {
    /// Reads its file.
    ///
    /// # Errors
    /// [`SecretsError::File`] if it cannot be read, [`SecretsError::Bad`] if it holds no value.
    pub fn read(&self) -> Result<Content, SecretsError> {
        let bad = |why| SecretsError::Bad { path: self.path.clone(), why };
        let mut bytes = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
            .map_err(failed("read", &self.path))?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(bad(BadSecret::Long));
        }
        if self.is_sealed {
            return String::from_utf8(bytes)
                .map(Content::Sealed)
                .map_err(|_| bad(BadSecret::NotText));
        }
        SecretValue::from_bytes(bytes).map(Content::Plain).map_err(bad)
    }
}

fn sealed(plain: &Path) -> PathBuf {
    PathBuf::from(format!("{}{SEALED}", plain.display()))
}

/// What is there, with links followed; a link that leads nowhere is an error and not nothing.
fn look(path: &Path) -> Result<Option<Metadata>, SecretsError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn changed(found: &Metadata) -> Timestamp {
    found.modified().map_or(Timestamp::from_millis(0), Timestamp::from)
}

fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> SecretsError {
    let path = path.to_owned();
    move |source| SecretsError::File { verb, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Shop {
        root: tempfile::TempDir,
        secrets: Secrets,
    }

    fn shop() -> Shop {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/kennel/secrets")).unwrap();
        let project =
            ProjectConfig::parse("shop".parse().unwrap(), "repo_url = \"/srv/shop\"", "shop.toml");
        let secrets = Secrets::of(&Layout::under(root.path()), &project.unwrap());
        Shop { root, secrets }
    }

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    impl Shop {
        fn write(&self, file: &str, text: &str) {
            let path = self.root.path().join("etc/kennel/secrets/shop").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn found(&self, secret: &str, scopes: &[SecretScope]) -> String {
            match self.secrets.find(&name(secret), scopes) {
                Ok(Some(found)) => match found.read() {
                    Ok(Content::Sealed(text)) => format!("sealed {text}"),
                    Ok(Content::Plain(value)) => format!("plain {}", value.reveal()),
                    Err(error) => self.said(&error),
                },
                Ok(None) => "none".to_owned(),
                Err(error) => self.said(&error),
            }
        }

        fn said(&self, error: &SecretsError) -> String {
            kennel_core::error_chain(error).replace(self.root.path().to_str().unwrap(), "")
        }
    }

    const PRODUCTION: &[SecretScope] = &[SecretScope::Production, SecretScope::Both];
    const PREVIEW: &[SecretScope] = &[SecretScope::Preview, SecretScope::Both];

    #[test]
    fn the_one_of_its_own_wins() {
        let shop = shop();
        assert_eq!(shop.found("A", PRODUCTION), "none");
        shop.write("A", "both\n");
        shop.write("production/A.cred", "x");
        assert_eq!(shop.found("A", PRODUCTION), "sealed x");
        assert_eq!(shop.found("A", PREVIEW), "plain both");
        shop.write("preview/B", "b");
        assert_eq!(shop.found("B", PRODUCTION), "none");
        assert_eq!(shop.found("B", PREVIEW), "plain b");
    }

    #[test]
    fn what_is_put_is_for_root_alone_and_replaces_its_like() {
        let shop = shop();
        let put = |value| shop.secrets.put(&name("A"), SecretScope::Preview, value).unwrap();
        assert!(put("one").is_none());
        // A run that was killed in the middle.
        shop.write("preview/.A.cred.new", "o");
        assert!(put("two").is_some());
        assert_eq!(shop.found("A", PREVIEW), "sealed two\n");
        let directory = shop.secrets.directory(SecretScope::Preview);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("A.cred"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert!(!shop.secrets.remove(&name("A"), SecretScope::Both).unwrap());
        assert!(shop.secrets.remove(&name("A"), SecretScope::Preview).unwrap());
        assert_eq!(shop.found("A", PREVIEW), "none");
    }

    #[test]
    fn what_others_put_there_stays() {
        let shop = shop();
        shop.write("A", "theirs");
        let put = shop.secrets.put(&name("A"), SecretScope::Both, "x").unwrap_err();
        insta::assert_snapshot!(shop.said(&put), @"/etc/kennel/secrets/shop/A is there already, and was not made by Kennel; change it where it comes from, or remove it");
        let removed = shop.secrets.remove(&name("A"), SecretScope::Both).unwrap_err();
        assert_eq!(shop.said(&removed), shop.said(&put));
        shop.write("A.cred", "x");
        insta::assert_snapshot!(shop.found("A", PRODUCTION), @"/etc/kennel/secrets/shop/A is there twice, plain and as /etc/kennel/secrets/shop/A.cred; remove one of them");
    }

    #[test]
    fn links_are_followed_and_files_without_a_value_named() {
        let shop = shop();
        shop.write("real", "linked\n");
        let directory = shop.secrets.directory(SecretScope::Both);
        symlink(directory.join("real"), directory.join("A")).unwrap();
        assert_eq!(shop.found("A", PRODUCTION), "plain linked");
        symlink("/nonexistent/file", directory.join("GONE")).unwrap();
        insta::assert_snapshot!(shop.found("GONE", PRODUCTION), @"cannot read /etc/kennel/secrets/shop/GONE: No such file or directory (os error 2)");
        shop.write("EMPTY", "\n");
        insta::assert_snapshot!(shop.found("EMPTY", PRODUCTION), @"/etc/kennel/secrets/shop/EMPTY cannot be handed over: it is empty");
        shop.write("LONG", &"x".repeat(300 * 1024));
        insta::assert_snapshot!(shop.found("LONG", PRODUCTION), @"/etc/kennel/secrets/shop/LONG cannot be handed over: it is longer than 32 KiB");
    }

    #[test]
    fn the_list_has_names_and_scopes_and_no_strangers() {
        let shop = shop();
        assert_eq!(shop.secrets.list().unwrap(), []);
        for file in ["B.cred", "production/A", "preview/A.cred", "readme.md", ".A.cred.new", "D/x"]
        {
            shop.write(file, "x");
        }
        let all = shop.secrets.list().unwrap();
        let all: Vec<_> =
            all.iter().map(|it| format!("{} {} {}", it.name, it.scope, it.is_sealed)).collect();
        assert_eq!(
            all,
            ["A production false", "A previews true", "B production and previews true"]
        );
    }
}
