//! Why a command did not do what it was asked for, and with which code the program then ends.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use kennel_core::{BadSecret, BuildId, BuildState, ProjectName, SecretName, TokenName, TokenRight};
use kennel_store::{ConfigError, SecretsError, StoreError, TokensError};
use kennel_systemd::{ManagerError, SealError};

use crate::{say, secret, token};

/// How the program ends; the numbers stand in its help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    NotFound,
    NotPermitted,
    BadConfiguration,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            // Clap's own code for what it refuses.
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NotPermitted => 4,
            // EX_USAGE of sysexits(3), as Kennel's services use it.
            Exit::BadConfiguration => 64,
            // As shells say it of a program that SIGINT ended.
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{}", say::no_kennel(.0))]
    NoKennel(PathBuf),
    #[error("{}", say::not_permitted(.0))]
    NotPermitted(PathBuf),
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot look into Kennel's databases")]
    Store(#[from] StoreError),
    #[error("{}", say::no_build(*.0))]
    NoBuild(BuildId),
    #[error("{}", say::no_project(.0, .1))]
    NoProject(ProjectName, Vec<String>),
    #[error("{}", say::no_target(.asked, .known))]
    NoTarget { asked: String, known: Vec<String> },
    #[error("{}", say::ambiguous(.asked, .options))]
    Ambiguous { asked: String, options: Vec<String> },
    #[error("{}", say::nothing_to_tear_down(.0))]
    WholeProject(String),
    #[error("{}", say::not_a_branch(.0))]
    NotABranch(String),
    #[error("{}", say::not_whole_branch(.0))]
    NotWholeBranch(String),
    #[error("{}", say::not_one_output(.asked, .options))]
    NotOneOutput { asked: String, options: Vec<String> },
    #[error("{}", say::never_built(.asked, .known))]
    NeverBuilt { asked: String, known: Vec<String> },
    #[error("{}", say::not_one_commit(.0))]
    NotOneCommit(String),
    #[error("{}", say::nothing_waits(.asked, .commit.as_deref()))]
    NothingWaits { asked: String, commit: Option<String> },
    #[error("{}", say::build_of_one(.asked, .branch))]
    BuildOfOne { asked: String, branch: String },
    #[error("cannot write to {}", .directory.display())]
    Generate { directory: PathBuf, source: io::Error },
    #[error("{}", say::rebuild_of_one(.asked, .branch))]
    RebuildOfOne { asked: String, branch: String },
    /// The dispatcher's own words.
    #[error("{0}")]
    Refused(String),
    #[error("{}", say::undecided())]
    Undecided,
    #[error("{}", say::rebuild_ended(*.0, *.1, .2))]
    BuildEnded(BuildId, BuildState, String),
    #[error("{}", say::goes_on(.0))]
    Interrupted(String),
    #[error("{}", say::no_service_log(.0))]
    NoServiceLog(String),
    #[error("{}", say::no_requests(.0))]
    NoRequests(String),
    #[error("{}", say::no_file(.0))]
    NoFile(PathBuf),
    #[error("{}", say::unknown_kind(.0))]
    UnknownKind(PathBuf),
    #[error("{}", say::project_file_name(.path))]
    ProjectFileName { path: PathBuf, source: kennel_core::Invalid },
    #[error("{}", say::already_ended(*.0, *.1))]
    AlreadyEnded(BuildId, BuildState),
    #[error("{}", say::nobody_to_ask())]
    NobodyToAsk,
    #[error("cannot start the threads and timers that asking services needs")]
    Runtime(#[source] io::Error),
    #[error("the host was not made to match; see `journalctl -u kennel-restore`")]
    Restore(#[source] ManagerError),
    #[error("{}", say::not_running())]
    NotRunning,
    #[error("{}", say::router_untold(.0))]
    RouterSilent(String),
    #[error("{}", say::no_journalctl())]
    Journalctl(#[source] io::Error),
    #[error("the project cannot be used; see `kennelctl check`")]
    Config(#[from] ConfigError),
    #[error("the secret was not set")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Secrets(SecretsError),
    #[error("{}", secret::say::needs_root(.0))]
    NeedsRoot(PathBuf),
    #[error("{}", secret::say::typed(.0))]
    Typed(SecretName),
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    #[error("{0}")]
    BadPassword(String),
    #[error("{}", secret::say::bad_value(.name, *.why))]
    BadSecret { name: SecretName, why: BadSecret },
    /// The sentence says which there are.
    #[error("{0}")]
    NoSecret(String),
    #[error(transparent)]
    Tokens(TokensError),
    #[error("{}", token::say::projects(*.0))]
    TokenProjects(TokenRight),
    #[error("{}", token::say::no_token(.0))]
    NoToken(TokenName),
    #[error("cannot print the answer")]
    Print(#[source] io::Error),
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
    /// Whoever read the output has seen enough, which is fine.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoKennel(_)
            | Self::NoBuild(_)
            | Self::NoProject(..)
            | Self::NoTarget { .. }
            | Self::NeverBuilt { .. }
            | Self::NothingWaits { .. }
            | Self::NoServiceLog(_)
            | Self::NoRequests(_)
            | Self::NoSecret(_)
            | Self::NoToken(_)
            | Self::NoFile(_) => Exit::NotFound,
            Self::NotPermitted(_) | Self::NeedsRoot(_) => Exit::NotPermitted,
            Self::Ambiguous { .. }
            | Self::WholeProject(_)
            | Self::NotABranch(_)
            | Self::NotWholeBranch(_)
            | Self::NotOneOutput { .. }
            | Self::NotOneCommit(_)
            | Self::RebuildOfOne { .. }
            | Self::BuildOfOne { .. }
            | Self::UnknownKind(_)
            | Self::Typed(_)
            | Self::TokenProjects(_)
            | Self::NotRunning
            | Self::NobodyToAsk => Exit::Usage,
            Self::ProjectFileName { .. } | Self::Config(_) => Exit::BadConfiguration,
            Self::Read { .. }
            | Self::Seal(_)
            | Self::Secrets(_)
            | Self::Tokens(_)
            | Self::Input(_)
            | Self::BadPassword(_)
            | Self::BadSecret { .. }
            | Self::Store(_)
            | Self::AlreadyEnded(..)
            | Self::Refused(_)
            | Self::Generate { .. }
            | Self::Undecided
            | Self::RouterSilent(_)
            | Self::BuildEnded(..)
            | Self::Runtime(_)
            | Self::Journalctl(_)
            | Self::Restore(_)
            | Self::Print(_)
            | Self::Json(_) => Exit::Failed,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::NobodyReads => Exit::Done,
        }
    }

    /// The failure and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        kennel_core::error_chain(self)
    }
}
