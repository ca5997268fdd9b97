//! What Kennel's programs agree on: names, states, configuration and messages.
//!
//! Pure on purpose: no I/O, no async runtime, no SQLite, no D-Bus. Whatever enters Kennel is
//! parsed here once, at the edge, into types whose fields are private; after that nobody has to
//! ask whether a name may stand in a unit file, a path or a host name.

mod newtype;

mod acme_attempts;
mod action;
mod assigned_name;
mod branch;
mod branch_slug;
mod build_state;
mod certificate;
mod commit_sha;
pub mod config;
mod database_server;
mod deployment_state;
mod error_chain;
mod event;
mod forge;
mod free_space;
mod git_ref;
mod guard;
mod host_name;
mod host_pattern;
mod id;
#[cfg(any(test, feature = "kill-points"))]
mod kill_point;
mod layout;
mod name;
mod output;
mod port;
mod protocol;
mod route_table;
mod router_status;
mod secret;
mod settings;
mod site_rules;
mod store_path;
mod timestamp;
mod tls;
mod token;
mod unit_name;

pub use acme_attempts::{AcmeAttempt, AcmeAttempts};
pub use action::Action;
pub use assigned_name::{NameKind, plain_or_hashed};
pub use branch::Branch;
pub use branch_slug::BranchSlug;
pub use build_state::{BuildEvent, BuildState};
pub use certificate::{Certificate, NoCertificate};
pub use commit_sha::CommitSha;
pub use database_server::DatabaseServer;
pub use deployment_state::{DeploymentEvent, DeploymentState};
pub use error_chain::error_chain;
pub use event::{Delivery, DeliveryId, Event, PullRequestHead};
pub use forge::Forge;
pub use free_space::LEAST_FREE_SPACE;
pub use git_ref::GitRef;
pub use guard::{Guard, Login, LoginId, Logins, Notice, NoticeText, SessionKey};
pub use host_name::HostName;
pub use host_pattern::HostPattern;
pub use id::{BuildId, DeploymentId, EventId};
#[cfg(any(test, feature = "kill-points"))]
pub use kill_point::{BUILD_ARROWS, DEPLOYMENT_ARROWS, KillPoint};
pub use layout::Layout;
pub use name::{ProjectName, ServiceName, UserName};
pub use newtype::Invalid;
pub use output::{OutputKey, OutputKind, OutputState};
pub use port::Port;
pub use protocol::Protocol;
pub use route_table::{PathRoute, RouteOutput, RouteTable, Target, UnknownTableVersion};
pub use router_status::{
    InUse, LastUse, Look, RouteTraffic, RouterHealth, RouterStatus, RouterTraffic, ServiceHealth,
    Use,
};
pub use secret::{BadSecret, SecretName, SecretScope, SecretValue};
pub use settings::Settings;
pub use site_rules::{
    HeaderRule, PathPattern, Redirect, RuleAction, RuleProblem, SiteRules, Template,
};
pub use store_path::StorePath;
pub use timestamp::Timestamp;
pub use tls::{Tls, TlsFiles};
pub use token::{TokenName, TokenRight};
pub use unit_name::{Job, UnitName, slice_name};

/// A state machine was asked for an arrow that it does not have.
///
/// Never a panic: a row can be changed by another program between two looks at it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {thing} that is {from} cannot become {event}")]
pub struct WrongTurn {
    /// What has the state: `build` or `deployment`.
    pub thing: &'static str,
    /// The state it is in.
    pub from: &'static str,
    /// What was to happen to it.
    pub event: &'static str,
}
