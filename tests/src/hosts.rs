//! The hosts of a test run: each is booted when the first test asks for it.
//!
//! Tests wait far more than they compute, so more of them run at once than there are processors:
//! several on the shared host, and one each on the others.

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Result, anyhow};
use xtask::checkout::Checkout;
use xtask::host::{self, Host, Kind, Making, Owner, vm};
use xtask::interrupt;
use xtask::kennel::Kennel;
use xtask::product::Profile;

use crate::BASE_DOMAIN;
use crate::bare::Bare;
use crate::nixos::Nixos;

/// Tests that need a drain of another length say so in their `kennel.toml`.
pub(crate) const SETTINGS: &str = "drain_secs = 3\n";

/// No look at forges while any test runs.
const NO_POLLS: &str = "[Timer]\nOnActiveSec=\nOnActiveSec=1w\n";

/// No sweep while any test runs, but for those that tests start.
const NO_SWEEPS: &str = "[Timer]\nOnActiveSec=\nOnUnitActiveSec=\nOnActiveSec=1w\n";

/// How many tests share one host at a time.
const SIDE_BY_SIDE: usize = 5;

static SHARED: TestHost = TestHost::new("shared", Kind::Container);
static EXCLUSIVE: [TestHost; 2] =
    [TestHost::new("first", Kind::Container), TestHost::new("second", Kind::Container)];
static MACHINE: TestHost = TestHost::new("vm", Kind::Machine);

static FOR_ONE_OF_MANY: LazyLock<Pool> = LazyLock::new(|| Pool::new(vec![&SHARED; SIDE_BY_SIDE]));
static FOR_ONE_ALONE: LazyLock<Pool> = LazyLock::new(|| Pool::new(EXCLUSIVE.iter().collect()));
static WITH_LIMITS: LazyLock<Pool> = LazyLock::new(|| Pool::new(vec![&MACHINE]));

/// Why there is no virtual machine to test on.
static NO_MACHINE: LazyLock<Option<String>> =
    LazyLock::new(|| match std::env::var_os(WITH_MACHINE) {
        Some(_) => vm::missing(),
        None => Some("`cargo xtask test --vm` runs it".to_owned()),
    });

/// Set by `cargo xtask test --vm`.
const WITH_MACHINE: &str = "KENNEL_TEST_VM";

/// One boots at a time: the first one also compiles the product and makes the base tree.
static BOOTING: Mutex<()> = Mutex::new(());

/// Waits for a place on the host that many tests share.
pub(crate) fn shared() -> Place {
    FOR_ONE_OF_MANY.take()
}

/// Waits for a host that no other test uses.
pub(crate) fn exclusive() -> Place {
    FOR_ONE_ALONE.take()
}

/// Boots a Debian without Kennel, for one test.
pub(crate) fn bare(label: &str) -> Result<Bare> {
    let _alone = lock(&BOOTING);
    Bare::boot(label)
}

/// Boots a host laid out as NixOS lays one out, for one test.
pub(crate) fn nixos(nixos: &Nixos) -> Result<Kennel> {
    let _alone = lock(&BOOTING);
    nixos.boot("nixos")
}

/// Waits for the virtual machine; without one, says why there is none.
pub(crate) fn with_limits() -> Result<Place, &'static str> {
    match NO_MACHINE.as_deref() {
        Some(why) => Err(why),
        None => Ok(WITH_LIMITS.take()),
    }
}

/// The hosts that tests have asked for, each with its name.
pub(crate) fn booted() -> impl Iterator<Item = (&'static str, &'static Kennel)> {
    std::iter::once(&SHARED)
        .chain(&EXCLUSIVE)
        .chain(std::iter::once(&MACHINE))
        .filter_map(|host| Some((host.name, host.kennel.get()?.as_ref().ok()?)))
}

/// A host, and whether it could be booted.
struct TestHost {
    name: &'static str,
    kind: Kind,
    kennel: OnceLock<Result<Kennel, String>>,
}

impl TestHost {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, kennel: OnceLock::new() }
    }

    fn boot(&self) -> Result<Kennel> {
        let _alone = lock(&BOOTING);
        let checkout = Checkout::find()?;
        interrupt::on_interrupt(|| {
            eprintln!("interrupted, ending the hosts");
            host::end_own();
        })?;
        for name in host::end_abandoned(&checkout)? {
            eprintln!("ended host {name}, which an earlier run has left");
        }
        let making = Making {
            owner: Owner::ThisProcess,
            product: Some(Profile::Test),
            kind: self.kind,
            keep_tree: false,
        };
        let name = format!("e2e-{}-{}", std::process::id(), self.name);
        let host = Host::make(&checkout, &name, making)?;
        let booted = host.boot()?;
        eprintln!("host {name} is {} after {:.1?}", booted.state, booted.took);
        // It would find what tests have not told of yet; those of kennel-poll start it themselves.
        host.write("etc/systemd/system/kennel-poll.timer.d/tests.conf", NO_POLLS)?;
        // Nothing of a test expires because another one has set the clock.
        host.write("etc/systemd/system/kennel-sweep.timer.d/tests.conf", NO_SWEEPS)?;
        host.run(&["systemctl", "daemon-reload"])?;
        Kennel::start(&checkout, Arc::new(host), BASE_DOMAIN, SETTINGS)
    }
}

/// Places on hosts, handed out one at a time.
struct Pool {
    free: Mutex<Vec<&'static TestHost>>,
    returned: Condvar,
}

impl Pool {
    fn new(mut places: Vec<&'static TestHost>) -> Self {
        // Taken from the end: whoever runs a single test boots the first host only.
        places.reverse();
        Self { free: Mutex::new(places), returned: Condvar::new() }
    }

    fn take(&'static self) -> Place {
        let mut free = lock(&self.free);
        loop {
            match free.pop() {
                Some(host) => return Place { host, pool: self },
                None => free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A place on a host, until it is dropped.
pub(crate) struct Place {
    host: &'static TestHost,
    pool: &'static Pool,
}

impl Place {
    /// The name of its host, as in the names of the kept journals.
    pub(crate) fn name(&self) -> &'static str {
        self.host.name
    }

    /// The host with Kennel started, booted first if nobody has asked before.
    pub(crate) fn kennel(&self) -> Result<&'static Kennel> {
        let booted =
            self.host.kennel.get_or_init(|| self.host.boot().map_err(|err| format!("{err:#}")));
        booted.as_ref().map_err(|err| anyhow!("there is no host to test on: {err}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.pool.free).push(self.host);
        self.pool.returned.notify_one();
    }
}

/// A test that panicked has left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
