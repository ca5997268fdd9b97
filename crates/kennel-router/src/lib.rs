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
mod crowd;
mod direct;
mod ends;
mod exchange;
mod forwarded;
mod frames;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grpc;
mod guard;
mod head;
mod health;
mod held;
mod hop;
mod http1;
mod http2;
mod journal;
mod lane;
mod life;
mod limits;
mod listen;
mod load;
mod metrics;
mod network;
mod notes;
mod pages;
mod pool;
mod prefix;
mod process;
mod proxy;
mod proxy_protocol;
mod ranges;
mod rates;
mod relief;
mod repeatable;
mod request_body;
mod rules;
mod say;
mod shares;
mod site;
mod status;
mod table;
mod throttle;
mod tls;
mod traffic;
mod trunk;
mod tunnel;
mod upstream;
mod used;
mod vouched;
mod wake;
mod watch;
mod websocket;
mod wire;
mod worker;

pub use life::{Command, RouterError, Settings, cores, run, run_embedded};
pub use limits::Limits;
pub use listen::{Scheme, SocketError, Sockets};
