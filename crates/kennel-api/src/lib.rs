//! Builds over HTTP: shown, and cancelled.
//!
//! For whoever has a token and no login on the host. It reads `builds.db`, which its unit has
//! mounted read-only, appends wishes to the inbox and rings the bell, and hands the router's figures
//! on. It decides nothing, starts nothing, connects to nobody but the router's status socket, and
//! leaves when it has nothing to do.

mod answer;
mod api;
mod bearer;
mod build_view;
mod metrics;
mod route;
mod rows;
mod say;

pub use api::{Api, limits};
