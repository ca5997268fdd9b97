//! kennel-acme: names in, certificates out.
//!
//! Reads which hosts are routed, orders a certificate for each that has none that lasts (RFC 8555),
//! proves over HTTP that the name leads here or in DNS that it is ours, and tells the router. Serves
//! nothing, opens no database, and reads one credential: the DNS provider's key.

mod account;
mod attempts;
mod challenge;
mod dns;
mod error;
mod kept;
mod names;
mod order;
mod renewals;
mod say;
mod shop;

pub use error::AcmeError;
pub use shop::run;
