//! Where everything lies: the one list of Kennel's paths.
//!
//! Only joins paths. Owners and modes are in `tmpfiles.d/kennel.conf`, and a test compares the two.

use std::path::{Path, PathBuf};

use crate::{
    BranchSlug, BuildId, DeploymentId, HostPattern, ProjectName, ServiceName, StorePath, UnitName,
    UserName,
};

/// Kennel's paths under a root, which is `/` but in tests.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Default for Layout {
    /// The host itself.
    fn default() -> Self {
        Self::under("/")
    }
}

impl Layout {
    /// The paths below `root`.
    #[must_use]
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The operator's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.at("etc/kennel/config.toml")
    }

    /// One `<project>.toml` per project.
    #[must_use]
    pub fn projects(&self) -> PathBuf {
        self.at("etc/kennel/projects.d")
    }

    /// One file per project, with its webhook's secret.
    #[must_use]
    pub fn webhook_secrets(&self) -> PathBuf {
        self.at("etc/kennel/webhook-secrets")
    }

    /// One file per token of the API, with its hash and never the token.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.at("etc/kennel/tokens")
    }

    /// A project's secrets, if the operator names no other directory.
    #[must_use]
    pub fn secrets(&self, project: &ProjectName) -> PathBuf {
        self.at("etc/kennel/secrets").join(project.as_str())
    }

    /// The database that the outside writes.
    #[must_use]
    pub fn inbox_db(&self) -> PathBuf {
        self.at("var/lib/kennel/inbox/inbox.db")
    }

    /// The queue between dispatcher and builders.
    #[must_use]
    pub fn builds_db(&self) -> PathBuf {
        self.at("var/lib/kennel/builds/builds.db")
    }

    /// What serves.
    #[must_use]
    pub fn state_db(&self) -> PathBuf {
        self.at("var/lib/kennel/state/state.db")
    }

    /// The directory of certificates that Kennel was given: `<name>.pem`, key and certificates.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.at("var/lib/kennel/certs")
    }

    /// Whether a file in that directory counts. A dot file is one that is just being written.
    #[must_use]
    pub fn is_certificate(path: &Path) -> bool {
        let is_hidden = path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|extension| extension == "pem")
    }

    /// The certificate that kennel-acme keeps for a name, with its key.
    #[must_use]
    pub fn certificate(&self, name: &HostPattern) -> PathBuf {
        self.certificates().join(format!("{}.pem", name.file_stem()))
    }

    /// The directory of kennel-acme's keys to others' services, one file each.
    #[must_use]
    pub fn acme_credentials(&self) -> PathBuf {
        self.at("etc/kennel/acme")
    }

    /// Records that kennel-acme has put into DNS and not yet taken back.
    #[must_use]
    pub fn acme_dns_records(&self) -> PathBuf {
        self.at("var/lib/kennel/acme/dns-records.json")
    }

    /// When the certificate authority wants certificates to be renewed.
    #[must_use]
    pub fn acme_renewals(&self) -> PathBuf {
        self.at("var/lib/kennel/acme/renewals.json")
    }

    /// kennel-acme's account with the certificate authority.
    #[must_use]
    pub fn acme_account(&self) -> PathBuf {
        self.at("var/lib/kennel/acme/account.json")
    }

    /// The orders that failed.
    #[must_use]
    pub fn acme_attempts(&self) -> PathBuf {
        self.at("var/lib/kennel/acme/attempts.json")
    }

    /// Answers to a certificate authority's questions, one file each, named after its token.
    #[must_use]
    pub fn acme_challenges(&self) -> PathBuf {
        self.at("var/lib/kennel/challenges")
    }

    /// The path below which they are asked for (RFC 8555 §8.3).
    pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

    /// Whether it is the name of such a file: base64url, and nothing that leads out of the
    /// directory.
    #[must_use]
    pub fn is_challenge(token: &str) -> bool {
        (1..=128).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }

    /// The directory of projects' bare mirrors.
    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.at("var/lib/kennel/repos")
    }

    /// A project's bare mirror.
    #[must_use]
    pub fn mirror(&self, project: &ProjectName) -> PathBuf {
        self.mirrors().join(format!("{project}.git"))
    }

    /// The directory of projects' caches.
    #[must_use]
    pub fn caches(&self) -> PathBuf {
        self.at("var/lib/kennel/cache")
    }

    /// A project's HOME and cache for git and Nix.
    #[must_use]
    pub fn cache(&self, project: &ProjectName) -> PathBuf {
        self.caches().join(project.as_str())
    }

    /// What kennel-poll remembers of a project.
    #[must_use]
    pub fn look(&self, project: &ProjectName) -> PathBuf {
        self.looks().join(format!("{project}.json"))
    }

    /// The directory of what kennel-poll remembers.
    #[must_use]
    pub fn looks(&self) -> PathBuf {
        self.at("var/lib/kennel/polls")
    }

    /// The lock of which one kennel-poll at a time has hold.
    #[must_use]
    pub fn poll_lock(&self) -> PathBuf {
        self.looks().join("lock")
    }

    /// Where git may write while a project's forge is asked.
    #[must_use]
    pub fn poll_work(&self, project: &ProjectName) -> PathBuf {
        self.at("var/lib/kennel/work").join(format!("poll-{project}"))
    }

    /// Where one build may put what it needs only while it runs.
    #[must_use]
    pub fn work(&self, build: BuildId) -> PathBuf {
        let [work, ..] = self.of_builds();
        work.join(build.to_string())
    }

    /// A build's log files: `<output>.log`, and `build.log` for the steps around them.
    #[must_use]
    pub fn logs(&self, build: BuildId) -> PathBuf {
        let [_, logs, _] = self.of_builds();
        logs.join(build.to_string())
    }

    /// A build's GC roots: one link per output, made by Nix.
    #[must_use]
    pub fn build_roots(&self, build: BuildId) -> PathBuf {
        let [.., roots] = self.of_builds();
        roots.join(build.to_string())
    }

    /// The directories in which each build has one of its own, named by its number: for its work,
    /// its logs and its GC roots.
    #[must_use]
    pub fn of_builds(&self) -> [PathBuf; 3] {
        ["work", "logs", "gcroots"].map(|name| self.at("var/lib/kennel").join(name))
    }

    /// The directory of deployments' own GC roots.
    #[must_use]
    pub fn deployment_roots(&self) -> PathBuf {
        self.at("nix/var/nix/gcroots/kennel")
    }

    /// A deployment's own GC root: a link straight from Nix's directory of roots, so that no
    /// builder can remove it.
    #[must_use]
    pub fn deployment_root(&self, deployment: DeploymentId) -> PathBuf {
        self.deployment_roots().join(deployment.to_string())
    }

    /// The directory of a branch's site links.
    #[must_use]
    pub fn sites(&self, project: &ProjectName, slug: &BranchSlug) -> PathBuf {
        self.all_sites().join(project.as_str()).join(slug.as_str())
    }

    /// The link to what a site serves.
    #[must_use]
    pub fn site(&self, project: &ProjectName, slug: &BranchSlug, site: &ServiceName) -> PathBuf {
        self.sites(project, slug).join(site.as_str())
    }

    /// The route table.
    #[must_use]
    pub fn route_table(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/routes.json")
    }

    /// The host's configuration as it was when kennel-restore could use it last.
    #[must_use]
    pub fn last_config(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/config.toml")
    }

    /// The passwords that routes ask for, for the router alone.
    #[must_use]
    pub fn logins(&self) -> PathBuf {
        self.at("var/lib/kennel/logins/logins.json")
    }

    /// The directory of projects' files as they were when they could be used last.
    #[must_use]
    pub fn last_projects(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/projects")
    }

    /// A project's file as it was when it could be used last.
    #[must_use]
    pub fn last_project(&self, project: &ProjectName) -> PathBuf {
        self.last_projects().join(format!("{project}.toml"))
    }

    /// The lock that whoever writes the route table holds.
    #[must_use]
    pub fn route_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/lock")
    }

    /// The lock that keeps slices from being stopped while something starts in them.
    #[must_use]
    pub fn slice_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/slices.lock")
    }

    /// The lock of whoever writes or removes a slice's unit file.
    #[must_use]
    pub fn slice_file_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/slice-files.lock")
    }

    /// The lock under which versions of a service that must not overlap take their turns.
    #[must_use]
    pub fn turn_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/turns.lock")
    }

    /// The lock under which a deployment finds out whether it is the last of its service.
    #[must_use]
    pub fn end_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/ends.lock")
    }

    /// The lock that lets one program at a time open sealed secrets: systemd talks to 16 of root's
    /// at once, and refuses the others.
    #[must_use]
    pub fn secret_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/routes/secrets.lock")
    }

    /// The key that passwords of preview databases are made of.
    #[must_use]
    pub fn database_key(&self) -> PathBuf {
        self.at("var/lib/kennel/databases/key")
    }

    /// The lock under which preview databases are given and taken back.
    #[must_use]
    pub fn database_lock(&self) -> PathBuf {
        self.at("var/lib/kennel/databases/lock")
    }

    /// Where systemd seals and opens credentials (systemd-creds(1)).
    #[must_use]
    pub fn credentials_socket(&self) -> PathBuf {
        self.at("run/systemd/io.systemd.Credentials")
    }

    /// The directory of what services get at their start: environment files and sealed
    /// credentials.
    #[must_use]
    pub fn env_dir(&self) -> PathBuf {
        self.at("run/kennel/secrets")
    }

    /// The directory of all projects' site links: `<project>/<branch>/<site>`.
    #[must_use]
    pub fn all_sites(&self) -> PathBuf {
        self.at("var/lib/kennel/sites")
    }

    /// A deployment's environment file: the unit's name with `.env` for `.service` and without
    /// `kennel-`.
    #[must_use]
    pub fn env_file(&self, unit: &UnitName) -> PathBuf {
        self.of_unit(unit, "env")
    }

    /// The directory of a deployment's credentials, sealed, one file per name; there only if it
    /// has some.
    #[must_use]
    pub fn credentials(&self, unit: &UnitName) -> PathBuf {
        self.of_unit(unit, "credentials")
    }

    fn of_unit(&self, unit: &UnitName, suffix: &str) -> PathBuf {
        let name = unit.as_str();
        let name = name.strip_prefix("kennel-").unwrap_or(name);
        let name = name.strip_suffix(".service").unwrap_or(name);
        self.env_dir().join(format!("{name}.{suffix}"))
    }

    /// The deployment that something in [`Self::env_dir`] belongs to, or that it is being made for,
    /// by its name: the reverse of [`Self::env_file`] and [`Self::credentials`].
    #[must_use]
    pub fn deployment_of_env_file(name: &str) -> Option<DeploymentId> {
        let name = name.strip_suffix(".new").unwrap_or(name);
        let name = name.strip_suffix(".env").or_else(|| name.strip_suffix(".credentials"))?;
        name.rsplit_once('@')?.1.parse().ok()
    }

    /// The datagram socket that wakes the dispatcher.
    #[must_use]
    pub fn bell(&self) -> PathBuf {
        self.at("run/kennel/bell")
    }

    /// The receiver's socket.
    #[must_use]
    pub fn webhook_socket(&self) -> PathBuf {
        self.at("run/kennel/webhook.sock")
    }

    /// Where kennel-api listens.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.at("run/kennel/api.sock")
    }

    /// The router's status socket.
    #[must_use]
    pub fn router_socket(&self) -> PathBuf {
        self.at("run/kennel/router.sock")
    }

    /// Where the router rings for a deployed service that sleeps.
    #[must_use]
    pub fn wake_socket(&self, deployment: DeploymentId) -> PathBuf {
        self.at("run/kennel/wake").join(deployment.to_string())
    }

    /// Where the router calls for a second one while it is restarted.
    #[must_use]
    pub fn router_relief(&self) -> PathBuf {
        self.at("run/kennel/router-relief.sock")
    }

    /// Where deployed services keep their files, by user name; relative to systemd's
    /// `/var/lib` as `StateDirectory=` wants it.
    #[must_use]
    pub fn state_directory(user: &UserName) -> String {
        format!("kennel/data/{user}")
    }

    /// The link to a service's state directory.
    #[must_use]
    pub fn data(&self, user: &UserName) -> PathBuf {
        self.at("var/lib").join(Self::state_directory(user))
    }

    /// A store path below the root.
    #[must_use]
    pub fn store(&self, path: &StorePath) -> PathBuf {
        self.at(path.as_str().trim_start_matches('/'))
    }

    /// An absolute path of the host, below the root.
    #[must_use]
    pub fn host_path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_file_carries_the_deployment() {
        let unit: UnitName = "kennel-site-main-api@97.service".parse().unwrap();
        assert_eq!(
            Layout::default().env_file(&unit),
            Path::new("/run/kennel/secrets/site-main-api@97.env")
        );
        let of = Layout::deployment_of_env_file;
        assert_eq!(of("site-main-api@97.env"), Some(DeploymentId::from_row(97)));
        assert_eq!(of(".site-main-api@97.env.new"), Some(DeploymentId::from_row(97)));
        assert_eq!(of("site-main-api.env"), None);
        let credentials = Layout::default().credentials(&unit);
        assert_eq!(credentials, Path::new("/run/kennel/secrets/site-main-api@97.credentials"));
        assert_eq!(of("site-main-api@97.credentials"), Some(DeploymentId::from_row(97)));
    }
}
