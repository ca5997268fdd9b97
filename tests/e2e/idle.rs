//! With nothing to do, nothing of Kennel runs but the router.

use std::time::Duration;

use kennel_tests::{Kennel, LIMIT, Result, ensure};
use xtask::base;
use xtask::resident;

/// The dispatcher lingers for four seconds, the receiver is told to for one.
/// Less than the minute that the receiver would stay by itself.
const REST: Duration = Duration::from_secs(50);

/// What the router may take, in KiB.
const MOST: u64 = 12 << 10;

/// The minute that the receiver waits for more would be all that this test does.
const IMPATIENT: &str =
    "[Service]\nExecStart=\nExecStart=/usr/lib/kennel/kennel-webhook --idle-exit 1\n";

pub(crate) fn only_the_router_stays(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let drop_in = host.root().join("etc/systemd/system/kennel-webhook.service.d/impatient.conf");
    base::write(&drop_in, IMPATIENT)?;
    host.run(&["systemctl", "daemon-reload"])?;

    let project = kennel.project("idle")?;
    let sources = kennel.sources().service("api", "idle-1").site("web", "nothing to do");
    let pushed = project.push("main", &sources, "the last one for today")?;
    project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    kennel.expect_page(&project.address("api", "main"), "/version", "idle-1", LIMIT)?;
    kennel.expect_page(&project.address("web", "main"), "/", "nothing to do", LIMIT)?;

    let router = resident::expect_only_router(kennel, REST)?;
    ensure!(router.pss_kib < MOST, "the router takes {} KiB", router.pss_kib);

    // And the next push finds it all there.
    project.push("main", &kennel.sources().service("api", "idle-2"), "one more")?;
    kennel.expect_page(&project.address("api", "main"), "/version", "idle-2", LIMIT)?;

    std::fs::remove_file(&drop_in)?;
    host.run(&["systemctl", "daemon-reload"])?;
    Ok(())
}
