//! A Debian of a test's own before it is booted, and the product that comes onto it.

use std::sync::Arc;

use anyhow::Result;
use xtask::checkout::Checkout;
use xtask::host::{Host, Kind, Making, Owner};
use xtask::product::{Product, Profile};

/// One that has never seen Kennel.
pub(crate) struct Unbooted {
    pub(crate) checkout: Checkout,
    pub(crate) product: Product,
    pub(crate) host: Host,
    name: String,
}

impl Unbooted {
    /// Makes one. `label` tells it from others of this run.
    pub(crate) fn make(label: &str) -> Result<Self> {
        let checkout = Checkout::find()?;
        let product = Product::build(&checkout, Profile::Test)?;
        let making = Making {
            owner: Owner::ThisProcess,
            product: None,
            kind: Kind::Container,
            keep_tree: false,
        };
        let name = format!("e2e-{}-{label}", std::process::id());
        let host = Host::make(&checkout, &name, making)?;
        Ok(Self { checkout, product, host, name })
    }

    /// Boots it.
    pub(crate) fn boot(self) -> Result<(Checkout, Arc<Host>)> {
        let booted = self.host.boot()?;
        eprintln!("host {} is {} after {:.1?}", self.name, booted.state, booted.took);
        Ok((self.checkout, Arc::new(self.host)))
    }
}
