//! The end of a unit that a deployment has beside its own.

use kennel_core::UnitName;

use crate::{DeployError, Host, file};

/// Ends it, if it has a file, and removes that and what systemd remembers of it.
pub(crate) async fn remove(host: &Host, unit: &UnitName) -> Result<(), DeployError> {
    let path = host.unit_file(unit);
    if !path.exists() {
        return Ok(());
    }
    host.manager.stop(unit.as_str()).await?;
    host.manager.reset_failed(unit.as_str()).await?;
    if unit.is_timer() {
        host.manager.clean_timer(unit).await?;
    }
    file::remove(&path)
}
