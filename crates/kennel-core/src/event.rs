//! What the outside asked for: the meaning of an inbox row.

use serde::{Deserialize, Serialize};

use crate::config::Period;
use crate::newtype::text_newtype;
use crate::{
    Action, Branch, BuildId, CommitSha, DeploymentId, Forge, GitRef, Notice, ProjectName,
    SecretName, SecretScope, ServiceName, Timestamp, TokenName,
};

/// The id that a forge gave to one delivery (`X-GitHub-Delivery` and the like): printable ASCII,
/// at most 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(String);

impl DeliveryId {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 100 {
            return Err("it has not 1 to 100 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("only printable ASCII may stand in it");
        }
        Ok(())
    }
}

text_newtype!(DeliveryId, "delivery id");

/// One fact or wish, before it is a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The project it is about, whose signature was verified (or whose name a person typed).
    pub project: ProjectName,
    /// The forge that sent it; none for a person's wish.
    pub forge: Option<Forge>,
    /// The forge's id of this delivery, if it sent one.
    pub delivery_id: Option<DeliveryId>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Who caused it: the forge's account, or the person's login. For display only.
    pub by: Option<String>,
    /// The number of the person's login on this host; none for a forge.
    pub uid: Option<u32>,
    /// What it says.
    pub event: Event,
}

/// Facts that forges report, and wishes of people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A branch has a new head.
    Push {
        /// Which branch.
        branch: Branch,
        /// Its new head.
        sha: CommitSha,
    },
    /// A branch is gone.
    BranchDeleted {
        /// Which branch.
        branch: Branch,
    },
    /// A pull request was opened, reopened or got a new head.
    PullRequest {
        /// Its number.
        number: u64,
        /// Its head.
        sha: CommitSha,
        /// Where the head comes from.
        head: PullRequestHead,
    },
    /// A pull request was closed or merged.
    PullRequestClosed {
        /// Its number.
        number: u64,
    },
    /// A person lets a stranger's commit be built. It names the build, so that another commit of
    /// the same pull request needs another approval.
    Approve {
        /// Which build.
        build: BuildId,
    },
    /// A person wants a build to end.
    Cancel {
        /// Which build.
        build: BuildId,
    },
    /// A person wants a branch's deployments gone, or one of them.
    TearDown {
        /// Whose deployments.
        git_ref: GitRef,
        /// Only this service or site.
        service: Option<ServiceName>,
    },
    /// A person wants what was built last deployed again, from the store.
    Redeploy {
        /// Whose builds.
        git_ref: GitRef,
        /// Only this service or site.
        service: Option<ServiceName>,
    },
    /// A person wants the commit that was asked for last built again, and deployed.
    Rebuild {
        /// Whose commit.
        git_ref: GitRef,
    },
    /// A person wants an earlier deployment of a service or site to serve again.
    RollBack {
        /// Of which branch.
        git_ref: GitRef,
        /// Which service or site.
        service: ServiceName,
        /// To which deployment; none: to what served before the one that serves now.
        to: Option<DeploymentId>,
    },
    /// A person wants pushes built and not deployed.
    Pin {
        /// Of which branch.
        git_ref: GitRef,
        /// Only this service or site.
        service: Option<ServiceName>,
    },
    /// A person wants pushes deployed again, and what was held meanwhile.
    Unpin {
        /// Of which branch.
        git_ref: GitRef,
        /// Only this service or site.
        service: Option<ServiceName>,
    },
    /// A person wants visitors to be told that something is under maintenance.
    MaintenanceOn {
        /// Of which branch; none: all of the project.
        git_ref: Option<GitRef>,
        /// Only this service or site.
        service: Option<ServiceName>,
        /// What they are told.
        notice: Notice,
    },
    /// A person wants visitors to be let in again.
    MaintenanceOff {
        /// Of which branch; none: all of the project.
        git_ref: Option<GitRef>,
        /// Only this service or site.
        service: Option<ServiceName>,
    },
    /// A person wants a branch to stay for longer than it would.
    Extend {
        /// Which branch.
        git_ref: GitRef,
        /// By how much.
        by: Period,
    },
    /// Nobody has used a branch for as long as it stays. Whether it is so still is the
    /// dispatcher's to see.
    Expired {
        /// Which branch.
        git_ref: GitRef,
    },
    /// A person has set a secret. It is done; the audit shall have it.
    SecretSet {
        /// Which one.
        name: SecretName,
        /// For which deployments.
        scope: SecretScope,
    },
    /// A person has removed a secret. It is done; the audit shall have it.
    SecretRemoved {
        /// Which one.
        name: SecretName,
        /// For which deployments.
        scope: SecretScope,
    },
    /// A person has made a token of the API for the project. It is done; the audit shall have it.
    TokenCreated {
        /// Which one.
        name: TokenName,
    },
    /// A person has taken it back. It is done; the audit shall have it.
    TokenRevoked {
        /// Which one.
        name: TokenName,
    },
}

/// Facts about a pull request's origin; whether it may be built is the dispatcher's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestHead {
    /// `owner/name` of the repository that holds the head; none if it is gone.
    pub repository: Option<String>,
    /// `owner/name` of the repository that the pull request is for.
    pub base_repository: String,
    /// What the forge says of the author's relation to the repository (GitHub:
    /// `author_association`), if it does.
    pub association: Option<String>,
}

impl PullRequestHead {
    /// Whether the head lies in the repository itself, where only its members can push.
    #[must_use]
    pub fn is_same_repository(&self) -> bool {
        self.repository.as_deref() == Some(self.base_repository.as_str())
    }

    /// Whether the forge says that the author may push to the repository, wherever the head lies.
    /// Forgejo and Gitea do not say.
    #[must_use]
    pub fn is_of_member(&self) -> bool {
        matches!(self.association.as_deref(), Some("OWNER" | "MEMBER" | "COLLABORATOR"))
    }
}

impl Event {
    /// The word in the database.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Push { .. } => "push",
            Self::BranchDeleted { .. } => "branch_deleted",
            Self::PullRequest { .. } => "pull_request",
            Self::PullRequestClosed { .. } => "pull_request_closed",
            Self::Approve { .. } => "approve",
            Self::Cancel { .. } => "cancel",
            Self::TearDown { .. } => "tear_down",
            Self::Redeploy { .. } => "redeploy",
            Self::Rebuild { .. } => "rebuild",
            Self::RollBack { .. } => "roll_back",
            Self::Pin { .. } => "pin",
            Self::Unpin { .. } => "unpin",
            Self::MaintenanceOn { .. } => "maintenance_on",
            Self::MaintenanceOff { .. } => "maintenance_off",
            Self::Extend { .. } => "extend",
            Self::Expired { .. } => "expired",
            Self::SecretSet { .. } => "secret_set",
            Self::SecretRemoved { .. } => "secret_removed",
            Self::TokenCreated { .. } => "token_created",
            Self::TokenRevoked { .. } => "token_revoked",
        }
    }

    /// The ref it is about; none for a wish that names a build.
    #[must_use]
    pub fn git_ref(&self) -> Option<GitRef> {
        match self {
            Self::Push { branch, .. } | Self::BranchDeleted { branch } => {
                Some(GitRef::Branch(branch.clone()))
            }
            Self::PullRequest { number, .. } | Self::PullRequestClosed { number } => {
                Some(GitRef::PullRequest(*number))
            }
            Self::TearDown { git_ref, .. }
            | Self::Redeploy { git_ref, .. }
            | Self::Rebuild { git_ref }
            | Self::RollBack { git_ref, .. }
            | Self::Pin { git_ref, .. }
            | Self::Unpin { git_ref, .. }
            | Self::Extend { git_ref, .. }
            | Self::Expired { git_ref } => Some(git_ref.clone()),
            Self::MaintenanceOn { git_ref, .. } | Self::MaintenanceOff { git_ref, .. } => {
                git_ref.clone()
            }
            Self::Approve { .. }
            | Self::Cancel { .. }
            | Self::SecretSet { .. }
            | Self::SecretRemoved { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. } => None,
        }
    }

    /// What a person did with it; none for what a forge or Kennel itself reports.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        match self {
            Self::Push { .. }
            | Self::BranchDeleted { .. }
            | Self::PullRequest { .. }
            | Self::PullRequestClosed { .. }
            | Self::Expired { .. } => None,
            Self::Approve { .. } => Some(Action::Approve),
            Self::Cancel { .. } => Some(Action::Cancel),
            Self::TearDown { .. } => Some(Action::TearDown),
            Self::Redeploy { .. } => Some(Action::Redeploy),
            Self::Rebuild { .. } => Some(Action::Rebuild),
            Self::RollBack { .. } => Some(Action::RollBack),
            Self::Pin { .. } => Some(Action::Pin),
            Self::Unpin { .. } => Some(Action::Unpin),
            Self::MaintenanceOn { .. } => Some(Action::MaintenanceOn),
            Self::MaintenanceOff { .. } => Some(Action::MaintenanceOff),
            Self::Extend { .. } => Some(Action::Extend),
            Self::SecretSet { .. } => Some(Action::SecretSet),
            Self::SecretRemoved { .. } => Some(Action::SecretRemoved),
            Self::TokenCreated { .. } => Some(Action::TokenCreated),
            Self::TokenRevoked { .. } => Some(Action::TokenRevoked),
        }
    }

    /// What of its project it is about, in words: `main/api`, `build 42`.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Push { branch, .. } | Self::BranchDeleted { branch } => branch.to_string(),
            Self::PullRequest { number, .. } | Self::PullRequestClosed { number } => {
                GitRef::PullRequest(*number).short()
            }
            Self::Approve { build } | Self::Cancel { build } => format!("build {build}"),
            Self::TearDown { git_ref, service }
            | Self::Redeploy { git_ref, service }
            | Self::Pin { git_ref, service }
            | Self::Unpin { git_ref, service } => match service {
                Some(service) => format!("{}/{service}", git_ref.short()),
                None => git_ref.short(),
            },
            Self::MaintenanceOn { git_ref, service, .. }
            | Self::MaintenanceOff { git_ref, service } => match (git_ref, service) {
                (None, _) => "all of it".to_owned(),
                (Some(git_ref), Some(service)) => format!("{}/{service}", git_ref.short()),
                (Some(git_ref), None) => git_ref.short(),
            },
            Self::Rebuild { git_ref } | Self::Expired { git_ref } => git_ref.short(),
            Self::Extend { git_ref, by } => format!("{} by {by}", git_ref.short()),
            Self::RollBack { git_ref, service, to } => match to {
                Some(to) => format!("{}/{service} to {to}", git_ref.short()),
                None => format!("{}/{service}", git_ref.short()),
            },
            Self::SecretSet { name, scope } | Self::SecretRemoved { name, scope } => {
                format!("{name} for {scope}")
            }
            Self::TokenCreated { name } | Self::TokenRevoked { name } => format!("token {name}"),
        }
    }
}
