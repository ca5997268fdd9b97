//! Store path in, running unit or symlink out.
//!
//! The one program of Kennel that runs as root: it writes units, environment files, links, GC
//! roots and the route table, and calls systemd. It believes nothing that a repository or a build
//! wrote: names are derived again from configuration and rows, and a store path is refused unless
//! the GC root of its own build holds it.
//!
//! Invariant: only this crate writes unit files and the route table.

mod access;
mod clean_up;
mod databases;
mod deploy;
mod domain;
mod env;
mod error;
mod file;
mod health;
mod host;
mod last_config;
mod listener;
mod log_tail;
mod postgresql;
mod program;
mod recreate;
mod release;
mod restore;
mod roots;
mod router;
mod routes;
mod secrets;
mod service;
mod settle;
mod site;
mod sleep;
mod slices;
mod teardown;
mod timer;
mod unchanged;
mod unit;
mod valkey;
mod waits;
mod worker;

pub use deploy::deploy;
pub use error::DeployError;
pub use host::Host;
pub use last_config::keep as keep_config;
pub use postgresql::PostgresqlError;
pub use restore::restore;
pub use routes::{refresh, refresh_on_change};
pub use settle::settle;
pub use sleep::sleep;
pub use teardown::teardown;
pub use valkey::ValkeyError;
pub use waits::waits;
