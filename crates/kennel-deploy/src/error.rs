//! Why a deployment did not come to serve, or an end was not brought about.

use std::io;
use std::path::{Path, PathBuf};

use kennel_core::config::{ProgramPath, Schedule};
use kennel_core::{
    DeploymentId, HostPattern, Invalid, Port, ProjectName, RuleProblem, SecretName, SecretScope,
    StorePath, UnitName,
};
use kennel_store::{ConfigError, DomainTaken, NumbersTaken, SecretsError, StoreError};
use kennel_systemd::{BadProgram, ManagerError, SealError};

use crate::{PostgresqlError, ValkeyError};

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
    /// The program that shall run before the service gets traffic did not end well.
    #[error("the release program {release} failed ({how}){tail}")]
    NotReleased {
        /// Which one.
        release: ProgramPath,
        /// systemd's words.
        how: String,
        /// Its last lines.
        tail: String,
    },
    /// systemd does not understand when a timer's program shall run.
    #[error(
        "systemd does not understand `schedule = \"{0}\"`; `systemd-analyze calendar` says of a schedule what is wrong with it, and `man systemd.time` what there is"
    )]
    NoSchedule(Schedule),
    /// Every time at which a timer's program should run is over.
    #[error("the last time of `schedule = \"{0}\"` is over, and nothing would ever run")]
    NeverAgain(Schedule),
    /// The program's name cannot stand in a unit file.
    #[error(transparent)]
    Program(#[from] BadProgram),
    /// A site is not a folder.
    #[error("{0} is not a folder, so it cannot be served as a site")]
    NotAFolder(StorePath),
    /// A site's `_redirects` or `_headers` has lines that are no rules.
    #[error("the site's rules cannot be kept (docs/sites.md has what there is): {}", listed(.0))]
    Rules(Vec<RuleProblem>),
    /// A service wants a preview database, and there is no server of any.
    #[error(
        "kennel.toml has `preview_database = true`, and the operator's {} has neither [valkey] nor [postgresql]; see docs/preview-databases.md, or remove the key from kennel.toml",
        .0.display()
    )]
    NoDatabaseServer(PathBuf),
    /// Every number of Valkey's is taken.
    #[error(transparent)]
    NumbersTaken(#[from] NumbersTaken),
    /// Valkey did not do what it was asked for.
    #[error(transparent)]
    Valkey(#[from] ValkeyError),
    /// PostgreSQL did not do what it was asked for.
    #[error(transparent)]
    Postgresql(#[from] PostgresqlError),
    /// The manifest names secrets that nobody has set.
    #[error("{}", no_secret(.missing, .project, *.scope, .branch))]
    NoSecret {
        /// Their names, at least one.
        missing: Vec<SecretName>,
        /// Whose they would be.
        project: ProjectName,
        /// Where they were looked for first.
        scope: SecretScope,
        /// The branch, or `pr-<number>`.
        branch: String,
    },
    /// A secret was removed while it was being handed over.
    #[error("the secret {0} was there a moment ago and is gone; deploy again")]
    SecretGone(SecretName),
    /// A secret's file holds nothing that can be handed over.
    #[error("the secret {name} cannot be used")]
    Secret {
        /// Which.
        name: SecretName,
        /// Why.
        source: SecretsError,
    },
    /// systemd does not open a secret, or does not seal it again.
    #[error(
        "the secret {name} cannot be used; if its value is known, set it again with `kennelctl secret set`"
    )]
    Seal {
        /// Which.
        name: SecretName,
        /// Why.
        source: SealError,
    },
    /// systemd's credential service cannot be asked.
    #[error("secrets cannot be opened")]
    Sealer(#[source] SealError),
    /// The custom domain is another's.
    #[error(transparent)]
    DomainTaken(#[from] Box<DomainTaken>),
    /// The operator does not let the project have this domain.
    #[error(
        "the project {project} may not have the domain {domain}; the operator lists what it may have under `domains` in {project}.toml"
    )]
    DomainForbidden {
        /// The project.
        project: ProjectName,
        /// The domain.
        domain: HostPattern,
    },
    /// The custom domain would meet Kennel's own names.
    #[error(
        "the domain {0} belongs to Kennel itself; choose one outside of the base domain's projects"
    )]
    DomainReserved(HostPattern),
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

    pub(crate) fn secret(name: &SecretName, source: SecretsError) -> Self {
        Self::Secret { name: name.clone(), source }
    }

    pub(crate) fn seal(name: &SecretName, source: SealError) -> Self {
        Self::Seal { name: name.clone(), source }
    }

    /// The error and its causes in one text, as a row's reason has it.
    #[must_use]
    pub fn chain(&self) -> String {
        kennel_core::error_chain(self)
    }
}

/// The first few, and how many more there are.
fn listed(problems: &[RuleProblem]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
    match problems.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// Which are missing, how to set the first, and what to do then.
fn no_secret(
    missing: &[SecretName],
    project: &ProjectName,
    scope: SecretScope,
    branch: &str,
) -> String {
    let names: Vec<_> = missing.iter().map(SecretName::as_str).collect();
    let (subject, them) = match names.as_slice() {
        [one] => (format!("the secret {one} does not exist"), "it"),
        several => (format!("the secrets {} do not exist", several.join(", ")), "each"),
    };
    let first = names.first().copied().unwrap_or_default();
    format!(
        "{subject} for {scope} of {project}; set {them} on the host, from standard input, with \
         `kennelctl secret set {project} {first}`, then `kennelctl redeploy {project}/{branch} \
         --rebuild`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_by_line() {
        let problem = |line| RuleProblem { file: "_redirects", line, why: "no rule".into() };
        insta::assert_snapshot!(DeployError::Rules((3..10).map(problem).collect()), @"the site's rules cannot be kept (docs/sites.md has what there is): _redirects:3: no rule; _redirects:4: no rule; _redirects:5: no rule; _redirects:6: no rule; _redirects:7: no rule; and 2 more");
    }

    fn missing(names: &[&str], scope: SecretScope) -> String {
        let error = DeployError::NoSecret {
            missing: names.iter().map(|name| name.parse().unwrap()).collect(),
            project: "shop".parse().unwrap(),
            scope,
            branch: "feature/x".into(),
        };
        error.chain()
    }

    #[test]
    fn missing_secrets_are_named_with_what_to_do() {
        insta::assert_snapshot!(missing(&["A"], SecretScope::Production), @"the secret A does not exist for production of shop; set it on the host, from standard input, with `kennelctl secret set shop A`, then `kennelctl redeploy shop/feature/x --rebuild`");
        insta::assert_snapshot!(missing(&["A", "B"], SecretScope::Preview), @"the secrets A, B do not exist for previews of shop; set each on the host, from standard input, with `kennelctl secret set shop A`, then `kennelctl redeploy shop/feature/x --rebuild`");
    }
}
