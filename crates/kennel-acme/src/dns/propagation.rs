//! Whether the world sees a record: all name servers of the zone are asked themselves.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::message::{ask, texts};
use super::{DnsError, Zone};
use crate::say;

/// How long servers may take to hear of a change from each other.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one that answers nothing at all is waited for, if another has the record.
const PATIENCE_WITH_THE_SILENT: Duration = Duration::from_secs(15);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

const DNS_PORT: u16 = 53;

/// What one name server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Seen,
    NotYet,
    Silent,
}

/// Waits until all name servers of the zone answer with the value.
pub(super) async fn wait(zone: &Zone, name: &Name, value: &str) -> Result<(), DnsError> {
    let begun = Instant::now();
    let mut left = zone.servers.clone();
    let mut seen = zone.servers.is_empty();
    loop {
        let mut still = Vec::new();
        for server in left {
            match look(&server, name, value).await {
                Sight::Seen => seen = true,
                other => still.push((server, other)),
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        let waited = begun.elapsed();
        let only_silent = still.iter().all(|(_, sight)| *sight == Sight::Silent);
        if seen && only_silent && waited > PATIENCE_WITH_THE_SILENT {
            for (server, _) in &still {
                warn!("{}", say::name_server_silent(server));
            }
            return Ok(());
        }
        if waited > PATIENCE {
            let servers: Vec<_> = still.iter().map(|(server, _)| server.to_string()).collect();
            return Err(DnsError::Unseen(say::unseen(name, &servers, waited)));
        }
        left = still.into_iter().map(|(server, _)| server).collect();
        sleep(PAUSE).await;
    }
}

/// A server has the record if each of its addresses that answers has it.
async fn look(server: &Name, name: &Name, value: &str) -> Sight {
    let host = server.to_string();
    let host = host.trim_end_matches('.');
    let addresses: Vec<SocketAddr> = match lookup_host((host, DNS_PORT)).await {
        Ok(addresses) => addresses.collect(),
        Err(_no_address) => return Sight::Silent,
    };
    let mut sight = Sight::Silent;
    for address in addresses {
        match ask(address, name, RecordType::TXT).await {
            Ok(answer) if texts(&answer, name).iter().any(|it| it == value) => sight = Sight::Seen,
            Ok(_) => return Sight::NotYet,
            // This host may have no way to addresses of the other family.
            Err(_) => {}
        }
    }
    sight
}
