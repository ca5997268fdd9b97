//! kennel-acme: names in, certificates out.
//!
//! Reads which hosts are routed, orders a certificate for each that has none that lasts (RFC 8555),
//! proves by HTTP-01 that the name leads here, and tells the router. Serves nothing, opens no
//! database, and has one credential: its account's key.

mod account;
mod attempts;
mod challenge;
mod error;
mod names;
mod order;
mod say;
mod shop;

pub use error::AcmeError;
pub use shop::run;
