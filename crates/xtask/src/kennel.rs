//! A host that runs Kennel.

use anyhow::Result;

use crate::base;
use crate::host::Host;

/// Browsers and curl take every name below `localhost` for this machine, without DNS.
pub const DEMO_DOMAIN: &str = "kennel.localhost";

/// Writes the operator's configuration into a host's tree.
///
/// # Errors
/// When the tree cannot be written.
pub fn configure(host: &Host, base_domain: &str) -> Result<()> {
    base::write(
        &host.root().join("etc/kennel/config.toml"),
        format!("base_domain = \"{base_domain}\"\n"),
    )
}
