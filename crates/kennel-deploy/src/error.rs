//! Why a deployment did not come to serve, or an end was not brought about.

use std::io;
use std::path::{Path, PathBuf};

use kennel_core::config::EnvName;
use kennel_core::{DeploymentId, HostName, Invalid, Port, ProjectName, StorePath, UnitName};
use kennel_store::{ConfigError, DomainTaken, StoreError};
use kennel_systemd::{BadProgram, ManagerError};

/// One failed step, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The operator's configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// A database did not do what it was asked for.
    #[error("the state cannot be read or written")]
    Store(#[from] StoreError),
    /// systemd did not do what it was asked for.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// A name that follows from others is not one.
    #[error("a name cannot be derived")]
    Name(#[from] Invalid),
    /// There is no such deployment.
    #[error("there is no deployment {0}")]
    Unknown(DeploymentId),
    /// The deployment serves, and nobody asked for its end.
    #[error("deployment {id} is {state}; to take it down, use `kennelctl teardown`")]
    NotEnding {
        /// Which deployment.
        id: DeploymentId,
        /// Where it is.
        state: &'static str,
    },
    /// The build's GC root does not hold the store path that its row claims.
    #[error("{path} is refused: {} does not hold it", .root.display())]
    NotRooted {
        /// What was to be deployed.
        path: StorePath,
        /// The root that should hold it.
        root: PathBuf,
    },
    /// A file cannot be written, read or removed.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// `write`, `read`, `remove`, `link`.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to run.
    #[error("{}/bin holds no program called `{wanted}`; {found}", .path.as_str())]
    NoProgram {
        /// What Nix made.
        path: StorePath,
        /// The service's name.
        wanted: String,
        /// What there is instead.
        found: String,
    },
    /// The program's name cannot stand in a unit file.
    #[error(transparent)]
    Program(#[from] BadProgram),
    /// A site is not a folder.
    #[error("{0} is not a folder, so it cannot be served as a site")]
    NotAFolder(StorePath),
    /// The manifest asks for what this version cannot give.
    #[error(
        "`preview_database = true` needs a version of Kennel with preview databases; remove it from kennel.toml"
    )]
    NoPreviewDatabase,
    /// The manifest asks for what this version cannot give.
    #[error(
        "the secret `{0}` does not exist: this version of Kennel has no secrets; remove it from kennel.toml"
    )]
    NoSecret(EnvName),
    /// The custom domain is another's.
    #[error(transparent)]
    DomainTaken(#[from] DomainTaken),
    /// The operator does not let the project have this domain.
    #[error(
        "the project {project} may not have the domain {domain}; the operator lists what it may have under `domains` in {project}.toml"
    )]
    DomainForbidden {
        /// The project.
        project: ProjectName,
        /// The domain.
        domain: HostName,
    },
    /// The custom domain would meet Kennel's own names.
    #[error(
        "the domain {0} belongs to Kennel itself; choose one outside of the base domain's projects"
    )]
    DomainReserved(HostName),
    /// The service ended instead of serving.
    #[error("{unit} ended before it was healthy ({how}){tail}")]
    Exited {
        /// The unit.
        unit: UnitName,
        /// systemd's words.
        how: String,
        /// Its last lines.
        tail: String,
    },
    /// The service could not be started at all.
    #[error("{unit} could not be started ({how}){tail}")]
    NotStarted {
        /// The unit.
        unit: UnitName,
        /// systemd's words.
        how: String,
        /// Its last lines.
        tail: String,
    },
    /// The service did not become healthy in time.
    #[error("{url} was not healthy within {seconds} s: {last}{tail}")]
    Unhealthy {
        /// What was asked.
        url: String,
        /// For how long.
        seconds: u64,
        /// The last answer, in words.
        last: String,
        /// The service's last lines.
        tail: String,
    },
    /// Another program answers on the reserved port.
    #[error("port {port} belongs to {owner} and not to {unit}; another program took it{tail}")]
    ForeignListener {
        /// The port.
        port: Port,
        /// Who listens there.
        owner: String,
        /// Who should.
        unit: UnitName,
        /// The service's last lines.
        tail: String,
    },
    /// The kernel did not say who listens.
    #[error("cannot find out who listens on port {port}")]
    Listener {
        /// The port.
        port: Port,
        /// Why.
        source: io::Error,
    },
    /// The router does not take the table.
    #[error("the router refused the route table {generation}: {reason}")]
    RouterRefused {
        /// The table's generation.
        generation: u64,
        /// The router's words.
        reason: String,
    },
    /// The router has not taken the table in time.
    #[error(
        "the router did not load the route table {generation} within 5 s; see `systemctl status kennel-router`"
    )]
    RouterLate {
        /// The table's generation.
        generation: u64,
    },
}

impl DeployError {
    /// A [`DeployError::File`] for `map_err`.
    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { verb, path, source }
    }

    /// The error and its causes in one text, as a row's reason has it.
    #[must_use]
    pub fn chain(&self) -> String {
        kennel_core::error_chain(self)
    }
}
