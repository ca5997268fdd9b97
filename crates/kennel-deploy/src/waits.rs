//! A deployment that cannot begin because of the operator's configuration: it stays pending, and
//! its row says why.
//!
//! Apart from what a [`crate::Host`] does, since there is none without a configuration.

use kennel_core::{DeploymentId, Layout};
use kennel_store::{Access, State};
use tracing::info;

use crate::DeployError;

/// Writes down why. Whoever repairs the configuration brings the dispatcher back, which starts it
/// again.
///
/// # Errors
/// [`DeployError`] if the row cannot be written.
pub fn waits(layout: &Layout, id: DeploymentId, cause: &DeployError) -> Result<(), DeployError> {
    let reason = format!("waits until it is repaired: {}", cause.chain());
    State::open(&layout.state_db(), Access::Patient)?.waits(id, &reason)?;
    info!("deployment {id} stays pending");
    Ok(())
}
