//! How Kennel's programs call a deployed service: so that its unit's address filter lets them.

use std::io;
use std::net::Ipv4Addr;

use kennel_core::Port;
use tokio::net::{TcpSocket, TcpStream};

use crate::service_unit::FORK_CALLER;

/// Connects to a service of this host. A fork's may answer to one local address alone and to no
/// other ([`crate::ServiceUnit::untrusted`]); this is it.
///
/// # Errors
/// Nobody listens, or the host has no socket left.
pub async fn call_service(port: Port, fork: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if fork {
        socket.bind((FORK_CALLER, 0).into())?;
    }
    socket.connect((Ipv4Addr::LOCALHOST, port.get()).into()).await
}
