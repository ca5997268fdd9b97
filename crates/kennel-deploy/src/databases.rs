//! Preview databases: one of each server for a branch, shared by its services.
//!
//! Whatever is done here can be killed and done again: the row comes before anything on a server
//! and goes after it. One lock keeps a branch's last end and its next beginning apart.

use std::{fs, io};

use hmac::{Hmac, KeyInit, Mac};
use kennel_core::config::{HostConfig, Postgresql, ProgramManifest, Valkey};
use kennel_core::{DatabaseServer, Layout};
use kennel_store::{Deployment, PreviewDatabase};
use kennel_systemd::kill_point;
use rustix::fs::FlockOperation;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use tracing::{info, warn};

use crate::{DeployError, Host, file, postgresql, valkey};

/// Where a service finds its databases: variables and URLs. Not printed, since URLs have passwords.
#[derive(Default)]
pub(crate) struct Urls(Vec<(&'static str, String)>);

impl Urls {
    /// Each variable with its value.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, url)| (*name, url.as_str()))
    }
}

/// The servers that a deployment has its databases on.
struct Servers<'a> {
    valkey: Option<&'a Valkey>,
    postgresql: Option<&'a Postgresql>,
}

impl<'a> Servers<'a> {
    fn of(config: &'a HostConfig, deployment: &Deployment, manifest: &ProgramManifest) -> Self {
        if !manifest.preview_database {
            return Self { valkey: None, postgresql: None };
        }
        // A number keeps nobody from the others; PostgreSQL keeps its roles apart.
        let reaches_all = |valkey: &&Valkey| !deployment.fork || valkey.forks;
        Self {
            valkey: config.valkey.as_ref().filter(reaches_all),
            postgresql: config.postgresql.as_ref(),
        }
    }

    fn has(&self, server: DatabaseServer) -> bool {
        match server {
            DatabaseServer::Valkey => self.valkey.is_some(),
            DatabaseServer::Postgresql => self.postgresql.is_some(),
        }
    }
}

/// Gives the branch its databases, if the service wants them, empty or as the template is; the ones
/// that it has stay as they are.
pub(crate) async fn give(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<Urls, DeployError> {
    if !manifest.preview_database {
        return Ok(Urls::default());
    }
    let config = host.config.clone();
    if config.valkey.is_none() && config.postgresql.is_none() {
        return Err(DeployError::NoDatabaseServer(host.layout.config()));
    }
    let servers = Servers::of(&config, deployment, manifest);
    let _lock = lock(&host.layout)?;
    // Servers are reached before a row is made: one that is down leaves nothing to be ended.
    if let Some(settings) = servers.valkey {
        give_number(host, deployment, settings)?;
    }
    if let Some(settings) = servers.postgresql {
        give_database(host, deployment, settings).await?;
    }
    known(host, deployment, manifest)
}

fn give_number(
    host: &mut Host,
    deployment: &Deployment,
    settings: &Valkey,
) -> Result<(), DeployError> {
    let key = &deployment.key;
    let mut server = valkey::Server::connect(settings)?;
    let given = host.state.allocate_number(&key.project, &key.git_ref, settings.databases)??;
    kill_point!(DatabaseAllocated, &key.project);
    if given.ready {
        return Ok(server.choose(&given.name)?);
    }
    server.empty(&given.name)?;
    made(host, deployment, &given)
}

async fn give_database(
    host: &mut Host,
    deployment: &Deployment,
    settings: &Postgresql,
) -> Result<(), DeployError> {
    let key = &deployment.key;
    let server = postgresql::Server::connect(settings).await?;
    let passwords = Passwords::read_or_make(&host.layout)?;
    let slug = &deployment.names.slug;
    let given = host.state.allocate_database(&key.project, &key.git_ref, slug)?;
    kill_point!(DatabaseAllocated, &key.project);
    if !given.ready {
        server.make(settings, &given.name).await?;
    }
    server.let_in(&given.name, &passwords.of(&given)).await?;
    if given.ready { Ok(()) } else { made(host, deployment, &given) }
}

fn made(
    host: &mut Host,
    deployment: &Deployment,
    given: &PreviewDatabase,
) -> Result<(), DeployError> {
    kill_point!(DatabaseMade, &deployment.key.project);
    host.state.preview_database_made(given.id)?;
    info!("{} is the database of {} on {}", given.name, deployment.key, given.server);
    Ok(())
}

/// Makes databases once more that PostgreSQL has lost, empty or as the template is, with the
/// passwords that services have. What is in a number of Valkey's nobody can tell.
pub(crate) async fn restore(host: &mut Host) -> Result<(), DeployError> {
    let Some(settings) = host.config.postgresql.clone() else { return Ok(()) };
    let of_server = |it: &PreviewDatabase| it.server == DatabaseServer::Postgresql;
    if !host.state.preview_databases()?.iter().any(of_server) {
        return Ok(());
    }
    let _lock = lock(&host.layout)?;
    let server = postgresql::Server::connect(&settings).await?;
    // Under the lock: what is not ready is nobody's work any more.
    for it in host.state.preview_databases()?.iter().filter(|it| of_server(it)) {
        if it.ready && server.has(&it.name).await? {
            continue;
        }
        let branch = format!("{}/{}", it.project, it.git_ref.short());
        warn!("{} does not have {}, the database of {branch}; making it anew", it.server, it.name);
        // Half made, it is made once more.
        host.state.preview_database_lost(it.id)?;
        server.make(&settings, &it.name).await?;
        server.let_in(&it.name, &Passwords::read_or_make(&host.layout)?.of(it)).await?;
        host.state.preview_database_made(it.id)?;
    }
    Ok(())
}

/// The URLs of what the branch has been given, without asking a server.
pub(crate) fn known(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<Urls, DeployError> {
    let servers = Servers::of(&host.config, deployment, manifest);
    let mut urls = Urls::default();
    for it in given(host, deployment)? {
        match it.server {
            DatabaseServer::Valkey => {
                if let Some(settings) = servers.valkey {
                    urls.0.push(("VALKEY_URL", valkey::url(settings, &it.name)?));
                }
            }
            DatabaseServer::Postgresql => {
                if let Some(settings) = servers.postgresql {
                    let password = Passwords::read(&host.layout)?.of(&it);
                    let url = postgresql::url(settings, &it.name, &password)?;
                    urls.0.push(("DATABASE_URL", url));
                }
            }
        }
    }
    Ok(urls)
}

/// Whether [`give`] would make nothing new.
pub(crate) fn has_all(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<bool, DeployError> {
    let servers = Servers::of(&host.config, deployment, manifest);
    let given = given(host, deployment)?;
    let is_given = |server| given.iter().any(|it| it.server == server);
    Ok(DatabaseServer::ALL.into_iter().all(|server| !servers.has(server) || is_given(server)))
}

fn given(host: &Host, deployment: &Deployment) -> Result<Vec<PreviewDatabase>, DeployError> {
    let key = &deployment.key;
    let mut of_branch = host.state.preview_databases_of(&key.project, &key.git_ref)?;
    of_branch.retain(|it| it.ready);
    Ok(of_branch)
}

/// Takes the branch's databases back with its last deployment.
pub(crate) async fn take_back(host: &mut Host, deployment: &Deployment) -> Result<(), DeployError> {
    let key = &deployment.key;
    if host.state.preview_databases_of(&key.project, &key.git_ref)?.is_empty() {
        return Ok(());
    }
    let _lock = lock(&host.layout)?;
    // Under the lock: one that begins now has its row, or gets another database afterwards.
    if !host.state.is_last_of_branch(deployment)? {
        return Ok(());
    }
    for it in host.state.preview_databases_of(&key.project, &key.git_ref)? {
        match (it.server, &host.config.valkey, &host.config.postgresql) {
            (DatabaseServer::Valkey, Some(settings), _) => {
                valkey::Server::connect(settings)?.empty(&it.name)?;
            }
            (DatabaseServer::Postgresql, _, Some(settings)) => {
                postgresql::Server::connect(settings).await?.drop(&it.name).await?;
            }
            (server, _, _) => {
                let name = &it.name;
                warn!("{server} is not configured any more; what is in its database {name} stays");
            }
        }
        kill_point!(DatabaseDropped, &key.project);
        host.state.forget_preview_database(it.id)?;
    }
    Ok(())
}

fn lock(layout: &Layout) -> Result<fs::File, DeployError> {
    file::lock(&layout.database_lock(), FlockOperation::LockExclusive)
}

/// Passwords of roles. They are made of a key of this host's, so that they are the same after a
/// reboot, and stand nowhere.
struct Passwords(Hmac<Sha256>);

impl Passwords {
    fn read(layout: &Layout) -> Result<Self, DeployError> {
        let path = layout.database_key();
        let read = || {
            let key = Hmac::new_from_slice(&fs::read(&path)?);
            key.map(Self).map_err(|_| io::ErrorKind::InvalidData.into())
        };
        read().map_err(DeployError::file("read", &path))
    }

    fn read_or_make(layout: &Layout) -> Result<Self, DeployError> {
        let path = layout.database_key();
        if !path.exists() {
            let mut random = [0_u8; 32];
            // So few bytes come whole (getrandom(2)).
            getrandom(&mut random, GetRandomFlags::empty())
                .map_err(|error| DeployError::file("make", &path)(error.into()))?;
            file::replace(&path, &hex::encode(random), 0o400)?;
        }
        Self::read(layout)
    }

    /// 128 bits, in hex. A database that is given anew has another number, and another password.
    fn of(&self, database: &PreviewDatabase) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{} {}", database.id, database.name).as_bytes());
        let mut password = hex::encode(mac.finalize().into_bytes());
        password.truncate(32);
        password
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_same_until_the_database_is_given_anew() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.database_key().parent().unwrap()).unwrap();
        assert!(Passwords::read(&layout).is_err(), "there is no key yet");
        let database = |id, name: &str| PreviewDatabase {
            id,
            server: DatabaseServer::Postgresql,
            name: name.to_owned(),
            project: "shop".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
            ready: true,
        };
        let first = Passwords::read_or_make(&layout).unwrap().of(&database(1, "kennel_shop_main"));
        assert_eq!(first.len(), 32);
        let again = Passwords::read_or_make(&layout).unwrap();
        assert_eq!(again.of(&database(1, "kennel_shop_main")), first);
        assert_ne!(again.of(&database(2, "kennel_shop_main")), first);
        assert_ne!(again.of(&database(1, "kennel_shop_try")), first);
        fs::remove_file(layout.database_key()).unwrap();
        let anew = Passwords::read_or_make(&layout).unwrap();
        assert_ne!(anew.of(&database(1, "kennel_shop_main")), first);
    }
}
