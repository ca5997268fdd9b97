//! Builds over HTTP: shown, and cancelled.
//!
//! For whoever has a token and no login on the host. It reads `builds.db`, which its unit has
//! mounted read-only, appends wishes to the inbox and rings the bell. It decides nothing, starts
//! nothing, opens no connection, and leaves when it has nothing to do.

mod answer;
mod api;
mod bearer;
mod build_view;
mod route;
mod rows;
mod say;

pub use api::{Api, limits};
