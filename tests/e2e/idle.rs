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

/// The minute that these two wait for more would be all that this test does.
const IMPATIENT: [&str; 2] = ["kennel-webhook", "kennel-api"];

pub(crate) fn only_the_router_stays(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let drop_in = |program: &str| {
        host.root().join(format!("etc/systemd/system/{program}.service.d/impatient.conf"))
    };
    for program in IMPATIENT {
        let start = format!("ExecStart=/usr/lib/kennel/{program} --idle-exit 1");
        base::write(&drop_in(program), format!("[Service]\nExecStart=\n{start}\n"))?;
    }
    host.run(&["systemctl", "daemon-reload"])?;

    let project = kennel.project("idle")?;
    let sources = kennel.sources().service("api", "idle-1").site("web", "nothing to do");
    let pushed = project.push("main", &sources, "the last one for today")?;
    project.expect_build(&pushed.after, "succeeded", LIMIT)?;
    kennel.expect_page(&project.address("api", "main"), "/version", "idle-1", LIMIT)?;
    kennel.expect_page(&project.address("web", "main"), "/", "nothing to do", LIMIT)?;

    let health = || kennel.get(&kennel.control_host(), "/health");
    ensure!(health()?.status == 200, "{}", health()?.text());
    let router = resident::expect_only_router(kennel, REST)?;
    ensure!(router.pss_kib < MOST, "the router takes {} KiB", router.pss_kib);

    // builds.db is readable though nobody has it open, for a program that may not write it.
    ensure!(health()?.status == 200, "{}", health()?.text());

    // And the next push finds it all there.
    project.push("main", &kennel.sources().service("api", "idle-2"), "one more")?;
    kennel.expect_page(&project.address("api", "main"), "/version", "idle-2", LIMIT)?;

    for program in IMPATIENT {
        std::fs::remove_file(drop_in(program))?;
    }
    host.run(&["systemctl", "daemon-reload"])?;
    Ok(())
}
