//! What several checks want to know, found out once.

use kennel_core::config::HostConfig;
use kennel_store::load_host;

use super::LIMIT;
use super::accounts::Accounts;
use super::rows::Rows;
use super::units::Units;
use crate::host::Host;

/// The host, and what it said first.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) host: Host,
    pub(super) is_root: bool,
    /// None if it cannot be used, which is a finding of its own.
    pub(super) config: Option<HostConfig>,
    pub(super) accounts: Accounts,
    /// Or why systemd could not be asked.
    pub(super) units: Result<Units, String>,
    /// Or why the databases could not be read.
    pub(super) rows: Result<Rows, String>,
}

impl Facts {
    pub(super) async fn gather(host: &Host) -> Self {
        let (reader, files) = (host.clone(), host.layout.clone());
        let rows = tokio::task::spawn_blocking(move || Rows::read(&reader));
        let rows = tokio::time::timeout(LIMIT, rows);
        let units = async {
            if host.is_live { Units::ask().await } else { Err("it is not running".to_owned()) }
        };
        let (rows, units) = tokio::join!(rows, units);
        Self {
            host: host.clone(),
            is_root: rustix::process::geteuid().is_root(),
            config: load_host(&files).ok(),
            accounts: Accounts::read(&files),
            units,
            rows: match rows {
                Ok(Ok(rows)) => rows,
                Ok(Err(_)) | Err(_) => Err("they do not answer".to_owned()),
            },
        }
    }

    /// Whether an operator has started Kennel; what is down otherwise is down on purpose.
    pub(super) fn is_started(&self) -> bool {
        self.units.as_ref().is_ok_and(|units| units.is_active("kennel.target"))
    }
}
