//! Who listens on a port: the kernel's answer (sock_diag(7)), by cgroup.
//!
//! No program answers for another: a deployment is healthy only if the listener on its port is in
//! the cgroup of its own unit.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kennel_core::Port;
use netlink_packet_core::{
    DefaultNla, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

/// Where cgroups are, on a host with the unified hierarchy.
const CGROUPS: &str = "/sys/fs/cgroup";

/// `INET_DIAG_CGROUP_ID` of linux/inet_diag.h: the id of a socket's cgroup, which is the inode of
/// its directory.
const CGROUP_ID: u16 = 21;

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Nobody.
    None,
    /// Only programs of the given unit.
    Own,
    /// Somebody else, in words.
    Foreign(String),
}

/// Who listens on `port`, seen from the unit whose cgroup is `control_group` (as systemd's
/// property `ControlGroup=` has it).
pub(crate) fn on(port: Port, control_group: &str) -> io::Result<Listener> {
    let sockets = [AF_INET, AF_INET6]
        .into_iter()
        .map(|family| listening(family, port))
        .collect::<io::Result<Vec<_>>>()?
        .concat();
    if sockets.is_empty() {
        return Ok(Listener::None);
    }
    // A unit that has just ended has none, and the root of all cgroups is not its own.
    let own = match control_group.trim_matches('/') {
        "" => Vec::new(),
        control_group => cgroup_ids(&Path::new(CGROUPS).join(control_group)),
    };
    for socket in sockets {
        if !socket.cgroup.is_some_and(|id| own.contains(&id)) {
            return Ok(Listener::Foreign(format!("a program of user id {}", socket.uid)));
        }
    }
    Ok(Listener::Own)
}

#[derive(Debug, Clone, Copy)]
struct ListeningSocket {
    uid: u32,
    cgroup: Option<u64>,
}

fn listening(family: u8, port: Port) -> io::Result<Vec<ListeningSocket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    id.source_port = port.get();
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id: id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.header.length as usize];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut found = Vec::new();
    loop {
        let (packet, _) = socket.recv_from_full()?;
        let mut rest = packet.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            // Messages are aligned to four bytes (netlink(7)).
            let length = (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response))
                    if response.header.socket_id.source_port == port.get() =>
                {
                    found.push(listening_socket(&response));
                }
                _ => {}
            }
            if length == 0 {
                return Err(io::Error::other("the kernel sent an empty netlink message"));
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn listening_socket(response: &InetResponse) -> ListeningSocket {
    let cgroup = response.nlas.iter().find_map(|nla| match nla {
        Nla::Other(other) if other.kind() == CGROUP_ID => value(other),
        _ => None,
    });
    ListeningSocket { uid: response.header.uid, cgroup }
}

fn value(nla: &DefaultNla) -> Option<u64> {
    let mut bytes = [0; 8];
    if nla.value_len() != bytes.len() {
        return None;
    }
    nla.emit_value(&mut bytes);
    Some(u64::from_ne_bytes(bytes))
}

/// The ids of a cgroup and those below it.
fn cgroup_ids(directory: &Path) -> Vec<u64> {
    let mut ids: Vec<_> = fs::metadata(directory).map(|data| data.ino()).into_iter().collect();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            ids.extend(cgroup_ids(&entry.path()));
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn finds_a_listener_and_knows_that_it_is_foreign() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        for group in ["/no/such.service", "/", ""] {
            assert!(matches!(on(port, group).unwrap(), Listener::Foreign(_)), "{group:?}");
        }
        drop(listener);
        assert_eq!(on(port, "/no/such.service").unwrap(), Listener::None);
    }
}
