//! Forge in, inbox row out: Kennel's webhook receiver.
//!
//! The only program that strangers' requests reach before anything is verified, so it can do
//! little: it appends facts to the inbox and rings the bell. It reads no other database, opens no
//! connection, decides nothing, and leaves when it has nothing to do. Its way of taking connections,
//! and of writing the inbox, is kennel-api's as well ([`Service`], [`Writer`]).

mod body;
mod delivery_headers;
mod form;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod limits;
mod listeners;
mod load;
mod log_quota;
mod options;
mod outcome;
mod payload;
mod receiver;
mod room;
mod say;
mod secrets;
mod serve;
mod signature;
mod understand;
mod writer;

pub use limits::Limits;
pub use listeners::{Address, ListenError, Listeners};
pub use load::Load;
pub use log_quota::LogQuota;
pub use options::{Options, until_stopped};
pub use outcome::respond;
pub use receiver::{Receiver, throw_away};
pub use room::Seat;
pub use secrets::{Secrets, SecretsError};
pub use serve::{End, Service, serve};
pub use writer::{Unavailable, Writer};
