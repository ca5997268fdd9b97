//! kennel-router: host name in, bytes out.
//!
//! The one program that visitors talk to: a reverse proxy for services and a server for static
//! sites, behind kennel-router.socket. It reads one file, the route table, and connects to
//! localhost. It opens no database, starts nothing, and keeps no state worth saving, so that it
//! can be replaced at any moment.

mod answer;
mod body;
mod challenge;
mod client;
mod counters;
mod exchange;
mod forwarded;
mod head;
mod hop;
mod http1;
mod http2;
mod life;
mod limits;
mod listen;
mod pages;
mod pool;
mod prefix;
mod proxy;
mod request_body;
mod say;
mod site;
mod status;
mod table;
mod throttle;
mod tls;
mod tunnel;
mod upstream;
mod used;
mod websocket;
mod wire;
mod worker;

pub use life::{Command, RouterError, Settings, cores, run, run_embedded};
pub use limits::Limits;
pub use listen::{Scheme, SocketError, Sockets};
