//! The router is restarted and replaced while visitors come: none of them notices.

use std::fmt::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kennel_tests::{
    Context, Kennel, LIMIT, Output, Result, anyhow, ensure, expect_deployment, say_figures,
};

const RESTARTS: usize = 20;

/// A sixth of them of each kind.
const VISITORS: usize = 30;

/// How long a restart may take: the wait for whoever relieves the router, ten seconds for what is
/// under way, and a start.
const RESTART_LIMIT: Duration = Duration::from_secs(18);

/// How long a visitor may wait whose connection is new. On a calm machine it is a tenth of that; while
/// the router that leaves let them wait, it was more.
const NEW_LIMIT: Duration = Duration::from_millis(900);

/// Whoever vouches for a name, and what they say of it.
const CERTIFIED: &str = r#"
    cd /var/lib/kennel/certs
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=site \
        -addext "subjectAltName=DNS:$1" -keyout /root/site.key -out /root/site.pem 2>/dev/null
    cat /root/site.key /root/site.pem > site.pem && rm /root/site.key
    chgrp kennel-router site.pem && chmod 640 site.pem && systemctl reload kennel-router
"#;

/// Restarts it again and again, with another binary in its place meanwhile, and kills it at last.
pub(crate) fn under_visitors(kennel: &Kennel) -> Result<()> {
    let host = kennel.host();
    let project = kennel.project("lasting")?;
    let sources = kennel.sources().service("api", "lasting").site("web", "lasting");
    let pushed = project.push("main", &sources, "a service and a site")?;
    let (api, web) = (project.address("api", "main"), project.address("web", "main"));
    expect_deployment(kennel, &project, "api", &pushed.after, "active")?;
    kennel.expect_page(&web, "/", "lasting", LIMIT)?;
    host.run(&["sh", "-ec", CERTIFIED, "sh", &web])?;
    kennel.wait_for("a page over TLS", LIMIT, || {
        Ok((over_tls(kennel, &web)?.stdout == "200").then_some(()))
    })?;

    let load = kennel.load(&api, VISITORS)?;
    kennel.wait_for("visitors of every kind", LIMIT, || {
        let report = load.report();
        Ok((report.kinds.len() == 6 && report.requests > 500).then_some(()))
    })?;
    let stop = AtomicBool::new(false);
    let failed_over_tls = Mutex::new(Vec::new());
    let restarts = thread::scope(|scope| -> Result<Vec<Duration>> {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let wrong = match over_tls(kennel, &web) {
                    Ok(said) if said.code == 0 && said.stdout == "200" => continue,
                    Ok(said) => format!("{said:?}"),
                    Err(error) => format!("{error:#}"),
                };
                failed_over_tls.lock().into_iter().for_each(|mut all| all.push(wrong.clone()));
            }
        });
        let restarts = (0..RESTARTS).map(|number| restart(kennel, number)).collect();
        stop.store(true, Ordering::Relaxed);
        restarts
    })?;
    // The last one who relieved it leaves, too.
    kennel.wait_for("the end of the second router", LIMIT, || {
        let state = host.try_run(&["systemctl", "is-active", "kennel-router-relief"])?.stdout;
        Ok((state.trim() == "inactive").then_some(()))
    })?;
    let report = load.stop()?;
    report.expect_clean()?;
    ensure!(report.kinds.len() == 6, "not every kind of visitor was served: {report:?}");
    let failed_over_tls = failed_over_tls.into_inner().map_err(|_| anyhow!("poisoned"))?;
    ensure!(failed_over_tls.is_empty(), "over TLS: {failed_over_tls:?}");
    ensure!(host.failed_units()?.is_empty(), "{:?} failed", host.failed_units()?);
    let slowest = restarts.iter().max().context("no restart")?;
    ensure!(*slowest < RESTART_LIMIT, "one restart took {slowest:?}");

    let mut figures = format!("{RESTARTS} restarts, the slowest {slowest:?}; slowest answers:");
    for (kind, time) in &report.slowest {
        write!(figures, " {kind} {time:?},")?;
    }
    say_figures(&figures);
    let waited = report.slowest.get("GET on a new connection").context("no new connection")?;
    ensure!(*waited < NEW_LIMIT, "a new connection waited {waited:?}");

    killed(kennel, &api)?;
    host.run(&["rm", "/var/lib/kennel/certs/site.pem", "/root/site.pem"])?;
    host.run(&["systemctl", "reload", "kennel-router"])?;
    Ok(())
}

fn restart(kennel: &Kennel, number: usize) -> Result<Duration> {
    let host = kennel.host();
    if number == RESTARTS / 2 {
        // As a package does it: the file is another one, and the process still runs the old one.
        host.sh("cd /usr/lib/kennel && cp kennel-router new && mv new kennel-router")?;
    }
    let begun = Instant::now();
    host.run(&["systemctl", "restart", "kennel-router"])?;
    let took = begun.elapsed();
    // In turn as soon as may be, and when whoever has relieved it is on the way out.
    if number % 5 == 4 {
        thread::sleep(Duration::from_secs(6));
    }
    Ok(took)
}

/// A crash loses what is under way, and no connection is refused.
fn killed(kennel: &Kennel, api: &str) -> Result<()> {
    let netns = kennel.host().netns()?;
    for _ in 0..3 {
        kennel.host().run(&["systemctl", "kill", "--signal=KILL", "kennel-router"])?;
        let waiting: Vec<TcpStream> =
            (0..50).map(|_| netns.connect(80)).collect::<std::io::Result<_>>()?;
        kennel.expect_page(api, "/version", "lasting", LIMIT)?;
        drop(waiting);
    }
    Ok(())
}

/// The status of a page over a new TLS connection.
fn over_tls(kennel: &Kennel, web: &str) -> Result<Output> {
    let (url, to) = (format!("https://{web}/"), format!("{web}:443:127.0.0.1"));
    let print =
        ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let ask = ["--max-time", "15", "--cacert", "/root/site.pem", "--resolve", &to, &url];
    kennel.host().try_run(&[&["curl"], &print[..], &ask[..]].concat())
}
