//! The one host of a test run: booted when the first test asks for it.

use std::sync::{Arc, OnceLock, RwLock};

use anyhow::{Result, anyhow};
use xtask::checkout::Checkout;
use xtask::host::{self, Host, Making, Owner};
use xtask::interrupt;
use xtask::kennel::Kennel;
use xtask::product::Profile;

use crate::BASE_DOMAIN;

/// Tests that need a drain of another length say so in their `kennel.toml`.
const SETTINGS: &str = "drain_secs = 3\n";

static KENNEL: OnceLock<Result<Kennel, String>> = OnceLock::new();

/// Tests that stop the host hold it alone.
pub(crate) static STAYS_UP: RwLock<()> = RwLock::new(());

/// The host with Kennel started, booted first if nobody has asked before.
pub(crate) fn kennel() -> Result<&'static Kennel> {
    let kennel = KENNEL.get_or_init(|| boot().map_err(|err| format!("{err:#}")));
    kennel.as_ref().map_err(|err| anyhow!("there is no host to test on: {err}"))
}

/// The host, if any test has asked for it.
pub(crate) fn booted() -> Option<&'static Kennel> {
    KENNEL.get()?.as_ref().ok()
}

fn boot() -> Result<Kennel> {
    let checkout = Checkout::find()?;
    interrupt::on_interrupt(|| {
        eprintln!("interrupted, ending the host");
        host::end_own();
    })?;
    for name in host::end_abandoned(&checkout)? {
        eprintln!("ended host {name}, which an earlier run has left");
    }
    let making =
        Making { owner: Owner::ThisProcess, product: Some(Profile::Quick), keep_tree: false };
    let host = Host::make(&checkout, &format!("e2e-{}", std::process::id()), making)?;
    let booted = host.boot()?;
    eprintln!("host {} is {} after {:.1?}", host.name(), booted.state, booted.took);
    Kennel::start(&checkout, Arc::new(host), BASE_DOMAIN, SETTINGS)
}
