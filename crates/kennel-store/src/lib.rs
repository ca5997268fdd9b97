//! Everything that Kennel keeps: three SQLite files, one per boundary, and the operator's files.
//!
//! `inbox.db` is what the outside asked for, `builds.db` the queue between dispatcher and
//! builders, `state.db` what serves. They are apart because whoever takes over the receiver must
//! not be able to read or change deployments, and a builder neither. Every query is here. Nothing
//! here starts a process or touches D-Bus.

mod audit;
mod build_outputs;
mod build_row;
mod builds;
mod column;
mod conditions;
mod database;
mod deployment_row;
mod deployments;
mod error;
mod examination;
mod https;
mod inbox;
mod life;
mod look;
mod maintenance;
mod names;
mod operator;
mod pins;
mod ports;
mod preview_databases;
mod retention;
mod room;
mod scope;
mod secrets;
mod teardown;
mod tokens;
pub mod whole_file;

pub use audit::{AuditFilter, AuditRow};
pub use build_row::{Build, BuildFilter, BuildOutput, Enqueued, NewBuild};
pub use builds::Builds;
pub use database::Access;
pub use deployment_row::{Deployment, NewDeployment};
pub use deployments::State;
pub use error::StoreError;
pub use examination::Examination;
pub use https::{Https, parse_certificate};
pub use inbox::{Appended, Inbox, InboxEntry, Told};
pub use life::Life;
pub use look::Look;
pub use maintenance::{Maintenance, Place, notice_for};
pub use names::{DomainTaken, Names};
pub use operator::{ConfigError, load_host, load_project, load_projects};
pub use pins::Pin;
pub use preview_databases::{NumbersTaken, PreviewDatabase};
pub use retention::Refs;
pub use room::{NoRoom, check_room};
pub use scope::Scope;
pub use secrets::{Content, Secret, Secrets, SecretsError};
pub use tokens::{NewToken, Token, Tokens, TokensError};
