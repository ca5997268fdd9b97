//! The real router on loopback sockets, in front of small services that speak exact bytes.

mod client;
mod host;
mod service;

mod passing;
