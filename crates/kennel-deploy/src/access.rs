//! Who may come in to a deployment's routes: maintenance, addresses, passwords.
//!
//! Hashes and keys go into a file of their own, which only the router may read; the route table, which
//! everybody may, has their numbers. A number stays as long as the password does, and so do sessions.

use std::collections::BTreeSet;
use std::{fs, io};

use kennel_core::config::{PasswordHash, ProjectConfig};
use kennel_core::{
    Guard, Layout, Login, LoginId, Logins, ProjectName, RouteTable, SessionKey, error_chain,
};
use kennel_store::{Deployment, Maintenance, load_project, notice_for};
use rustix::rand::{GetRandomFlags, getrandom};
use tracing::warn;

use crate::{DeployError, Host, file};

/// What guards are made of, for one table.
pub(crate) struct Access {
    maintenance: Vec<Maintenance>,
    logins: Logins,
    used: BTreeSet<LoginId>,
}

impl Access {
    pub(crate) fn read(host: &Host) -> Result<Self, DeployError> {
        Ok(Self {
            maintenance: host.state.maintenance()?,
            logins: logins(&host.layout)?,
            used: BTreeSet::new(),
        })
    }

    /// What stands before the routes of a deployment.
    pub(crate) fn guard(
        &mut self,
        host: &Host,
        deployment: &Deployment,
        config: Option<&ProjectConfig>,
    ) -> Result<Guard, DeployError> {
        let maintenance = notice_for(&self.maintenance, &deployment.key).cloned();
        let Some(config) = config else {
            return Ok(Guard { maintenance, ..Guard::default() });
        };
        let git_ref = &deployment.key.git_ref;
        let allow_from = config.allow_from(git_ref, &host.config);
        let login = config
            .preview_password(git_ref, &host.config)
            .map(|password| self.login(&config.name, password))
            .transpose()?;
        Ok(Guard {
            maintenance,
            allow_from: allow_from.into_iter().map(<[_]>::to_vec).collect(),
            login,
        })
    }

    fn login(
        &mut self,
        project: &ProjectName,
        password: &PasswordHash,
    ) -> Result<LoginId, DeployError> {
        let is_it = |it: &Login| it.project == *project && it.password == *password;
        let known = self.logins.0.iter().find(|(_, it)| is_it(it)).map(|(id, _)| id.clone());
        let id = match known {
            Some(id) => id,
            None => {
                let id = drawn::<16, LoginId>()?;
                let (project, password) = (project.clone(), password.clone());
                let login = Login { project, password, key: drawn::<32, SessionKey>()? };
                self.logins.0.insert(id.clone(), login);
                id
            }
        };
        self.used.insert(id.clone());
        Ok(id)
    }

    /// Writes the passwords that the new table asks for, and those of the one that is in force: the
    /// router may be started before the new one is there.
    pub(crate) fn write(
        mut self,
        layout: &Layout,
        current: Option<&RouteTable>,
    ) -> Result<(), DeployError> {
        let routes = current.into_iter().flat_map(|table| table.hosts.values().flatten());
        self.used.extend(routes.filter_map(|route| route.guard.login.clone()));
        self.logins.0.retain(|id, _| self.used.contains(id));
        let path = layout.logins();
        if self.logins.0.is_empty() && !path.exists() {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(&self.logins)
            .map_err(|error| DeployError::file("write", &path)(error.into()))?;
        // The directory's set-group-ID bit gives it to the router.
        file::replace_other(&path, &text, 0o640).map(drop)
    }
}

fn logins(layout: &Layout) -> Result<Logins, DeployError> {
    let path = layout.logins();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
            warn!("{}: {error}, ignoring: sessions of previews end", path.display());
            Logins::default()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Logins::default()),
        Err(error) => Err(DeployError::file("read", &path)(error)),
    }
}

/// Random bytes in hex, as what they are for.
fn drawn<const BYTES: usize, T: TryFrom<String>>() -> Result<T, DeployError>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let path = std::path::Path::new("/dev/urandom");
    let mut random = [0_u8; BYTES];
    // So few bytes come whole (getrandom(2)).
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| DeployError::file("read", path)(error.into()))?;
    T::try_from(hex::encode(random))
        .map_err(|error| DeployError::file("read", path)(io::Error::other(error)))
}

/// A project's file; one with a mistake, or none any more, is as it was when it could be used last:
/// what was closed stays closed.
pub(crate) fn project(layout: &Layout, project: &ProjectName) -> Option<ProjectConfig> {
    let error = match load_project(layout, project) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    let kept = fs::read_to_string(layout.last_project(project)).ok();
    let file = layout.last_project(project).display().to_string();
    let before = kept.and_then(|text| ProjectConfig::parse(project.clone(), &text, &file).ok());
    let then = match &before {
        Some(_) => "its routes stay as they were",
        None => "it keeps its routes but its custom domains",
    };
    warn!("{}, ignoring: {project}: {then}", error_chain(&error));
    before
}

/// Keeps a copy of each project's file that can be used now.
pub(crate) fn keep_projects(layout: &Layout) -> Result<(), DeployError> {
    let kept = layout.last_projects();
    file::make_private_dir(&kept)?;
    let names = |directory: &std::path::Path| -> BTreeSet<ProjectName> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".toml")?.parse().ok()).collect()
    };
    for name in names(&layout.projects()) {
        let path = layout.projects().join(format!("{name}.toml"));
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if ProjectConfig::parse(name.clone(), &text, &path.display().to_string()).is_ok() {
            // Who may read the original is the operator's to say.
            file::replace_other(&layout.last_project(&name), &text, 0o600)?;
        }
    }
    Ok(())
}

/// Forgets the files of projects that have no deployments any more.
pub(crate) fn forget_projects(layout: &Layout, deployed: &BTreeSet<ProjectName>) {
    let entries = fs::read_dir(layout.last_projects()).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let project = name.strip_suffix(".toml").and_then(|it| it.parse::<ProjectName>().ok());
        let Some(project) = project else { continue };
        let is_there = layout.projects().join(&name).exists();
        if !is_there
            && !deployed.contains(&project)
            && let Err(error) = file::remove(&layout.last_project(&project))
        {
            warn!("{}, ignoring: tried again by the next kennel-restore", error.chain());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    const OTHER: &str =
        "$argon2id$v=19$m=4096,t=3,p=1$YW5vdGhlcnNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";

    fn access(layout: &Layout) -> Access {
        let logins = logins(layout).unwrap();
        Access { maintenance: Vec::new(), logins, used: BTreeSet::new() }
    }

    #[test]
    fn sessions_last_as_long_as_the_password() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        fs::create_dir_all(layout.logins().parent().unwrap()).unwrap();
        access(&layout).write(&layout, None).unwrap();
        assert!(!layout.logins().exists(), "there is nothing to keep");

        let (shop, blog): (ProjectName, ProjectName) =
            ("shop".parse().unwrap(), "blog".parse().unwrap());
        let mut first = access(&layout);
        let one = first.login(&shop, &ONE.parse().unwrap()).unwrap();
        assert_eq!(first.login(&shop, &ONE.parse().unwrap()).unwrap(), one);
        let of_blog = first.login(&blog, &ONE.parse().unwrap()).unwrap();
        assert_ne!(one, of_blog, "a session of one project is none of another");
        let keys: Vec<_> = first.logins.0.values().map(|it| it.key.clone()).collect();
        assert_ne!(keys[0].reveal(), keys[1].reveal());
        first.write(&layout, None).unwrap();

        let mut again = access(&layout);
        assert_eq!(again.login(&shop, &ONE.parse().unwrap()).unwrap(), one);
        let changed = again.login(&shop, &OTHER.parse().unwrap()).unwrap();
        assert_ne!(changed, one);
        again.used.remove(&one);
        again.write(&layout, None).unwrap();
        let left: Vec<_> = access(&layout).logins.0.into_keys().collect();
        assert_eq!(left, [changed]);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(layout.logins()).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_mistake_in_a_projects_file_opens_nothing() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        for directory in [layout.projects(), layout.route_table().parent().unwrap().to_owned()] {
            fs::create_dir_all(directory).unwrap();
        }
        let shop: ProjectName = "shop".parse().unwrap();
        let path = layout.projects().join("shop.toml");
        assert!(project(&layout, &shop).is_none());
        fs::write(&path, format!("repo_url = \"/srv/shop\"\n[previews]\npassword = \"{ONE}\"\n"))
            .unwrap();
        keep_projects(&layout).unwrap();
        let host =
            kennel_core::config::HostConfig::parse("base_domain = \"a.test\"\n", "x").unwrap();
        let next = "refs/heads/next".parse().unwrap();
        let asks = || {
            let config = project(&layout, &shop)?;
            config.preview_password(&next, &host).map(ToString::to_string)
        };
        assert_eq!(asks().as_deref(), Some(ONE));
        fs::write(&path, "repo_url = \"/srv/shop\"\n[preview]\n").unwrap();
        keep_projects(&layout).unwrap();
        assert_eq!(asks().as_deref(), Some(ONE));
        fs::remove_file(&path).unwrap();
        assert_eq!(asks().as_deref(), Some(ONE));
        forget_projects(&layout, &BTreeSet::from([shop.clone()]));
        assert_eq!(asks().as_deref(), Some(ONE));
        forget_projects(&layout, &BTreeSet::new());
        assert_eq!(asks(), None);
    }
}
