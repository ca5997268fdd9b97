//! The secrets of a deployment: found, opened, and made ready to be handed over.
//!
//! Values are in this program's memory and leave it in two ways: into the environment file, and
//! sealed again under the bare name that systemd gives a credential. Nothing here logs one.

use std::fs::{self, File};
use std::path::Path;

use kennel_core::config::{ProgramManifest, ProjectConfig};
use kennel_core::{Layout, SecretName, SecretScope, SecretValue};
use kennel_store::{Content, Deployment, Secrets, SecretsError, load_project};
use kennel_systemd::{SealError, Sealer};
use rustix::fs::FlockOperation;
use tracing::info;

use crate::{DeployError, file};

/// What one deployment gets.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    /// For the environment file.
    pub(crate) variables: Vec<(SecretName, SecretValue)>,
    /// For `LoadCredentialEncrypted=`.
    credentials: Vec<Credential>,
}

/// One file of a service's credentials.
#[derive(Debug)]
struct Credential {
    name: SecretName,
    value: SecretValue,
    sealed: String,
}

/// systemd's credential service, asked when the first sealed secret wants it. While it is open no
/// other job of Kennel's has it.
#[derive(Debug, Default)]
pub(crate) struct Opener(Option<(Sealer, File)>);

impl Opener {
    fn sealer(&mut self, layout: &Layout) -> Result<&mut Sealer, DeployError> {
        let opened = match self.0.take() {
            Some(opened) => opened,
            None => {
                let lock = file::lock(&layout.secret_lock(), FlockOperation::LockExclusive)?;
                let sealer = Sealer::connect(&layout.credentials_socket());
                (sealer.map_err(DeployError::Sealer)?, lock)
            }
        };
        Ok(&mut self.0.insert(opened).0)
    }
}

/// Everything that `kennel.toml` names, or an error with the names of all that are missing.
pub(crate) fn grant(
    layout: &Layout,
    opener: &mut Opener,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<Granted, DeployError> {
    if manifest.secrets.is_empty() && manifest.credentials.is_empty() {
        return Ok(Granted::default());
    }
    let project = load_project(layout, &deployment.key.project)?;
    let store = Store {
        secrets: Secrets::of(layout, &project),
        scopes: project.secret_scopes(&deployment.key.git_ref, deployment.fork),
        layout,
    };
    if store.scopes.is_empty() {
        // It may do without: what is missing is for its owners to see, not for strangers.
        info!("{} is a fork's, and starts without its secrets", deployment.key);
        return Ok(Granted::default());
    }
    store.ensure_all(&project, deployment, manifest)?;
    let mut granted = Granted::default();
    for name in &manifest.secrets {
        let value = store.value(opener, name)?;
        granted.variables.push((name.clone(), value));
    }
    for name in &manifest.credentials {
        let value = store.value(opener, name)?;
        let sealed = opener.sealer(layout)?.seal(name.as_str(), value.reveal().as_bytes());
        let sealed = sealed.map_err(|source| DeployError::seal(name, source))?;
        granted.credentials.push(Credential { name: name.clone(), value, sealed });
    }
    Ok(granted)
}

impl Granted {
    /// Writes the credentials into a directory of their own; none needs no directory.
    pub(crate) fn write_credentials(&self, directory: &Path) -> Result<(), DeployError> {
        if self.credentials.is_empty() {
            return Ok(());
        }
        file::make_private_dir(directory)?;
        for Credential { name, sealed, .. } in &self.credentials {
            file::replace(&directory.join(name.as_str()), &format!("{sealed}\n"), 0o400)?;
        }
        Ok(())
    }

    /// Whether [`Granted::write_credentials`] has written these values there before. What cannot
    /// be read or opened is another one.
    pub(crate) fn is_written(
        &self,
        layout: &Layout,
        opener: &mut Opener,
        directory: &Path,
    ) -> Result<bool, DeployError> {
        for Credential { name, value, .. } in &self.credentials {
            let Ok(sealed) = fs::read_to_string(directory.join(name.as_str())) else {
                return Ok(false);
            };
            let opened = opener.sealer(layout)?.open(name.as_str(), &sealed);
            if !opened.is_ok_and(|opened| opened == value.reveal().as_bytes()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A project's secrets as one deployment may see them.
struct Store<'a> {
    secrets: Secrets,
    scopes: &'static [SecretScope],
    layout: &'a Layout,
}

impl Store<'_> {
    fn ensure_all(
        &self,
        project: &ProjectConfig,
        deployment: &Deployment,
        manifest: &ProgramManifest,
    ) -> Result<(), DeployError> {
        let mut missing: Vec<SecretName> = Vec::new();
        for name in manifest.secrets.iter().chain(&manifest.credentials) {
            let found = self.secrets.find(name, self.scopes);
            if found.map_err(|source| DeployError::secret(name, source))?.is_none()
                && !missing.contains(name)
            {
                missing.push(name.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(DeployError::NoSecret {
            missing,
            project: project.name.clone(),
            scope: self.scopes.first().copied().unwrap_or(SecretScope::Both),
            branch: deployment.key.git_ref.short(),
        })
    }

    fn value(&self, opener: &mut Opener, name: &SecretName) -> Result<SecretValue, DeployError> {
        let failed = |source| DeployError::secret(name, source);
        let found = self.secrets.find(name, self.scopes).map_err(failed)?;
        let found = found.ok_or_else(|| DeployError::SecretGone(name.clone()))?;
        match found.read().map_err(failed)? {
            Content::Plain(value) => Ok(value),
            Content::Sealed(sealed) => {
                let opened = opener
                    .sealer(self.layout)?
                    .open(&self.secrets.seal(name, found.scope), &sealed)
                    .map_err(|source: SealError| DeployError::seal(name, source))?;
                SecretValue::from_bytes(opened)
                    .map_err(|why| failed(SecretsError::Bad { path: found.path, why }))
            }
        }
    }
}

/// Removes what [`Granted::write_credentials`] wrote.
pub(crate) fn remove_credentials(directory: &Path) -> Result<(), DeployError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(DeployError::file("remove", directory)),
    }
}
