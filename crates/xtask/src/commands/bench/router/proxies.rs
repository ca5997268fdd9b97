//! The proxies that are compared, and what stands behind them, as running processes.

use std::fmt;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use xtask::base;
use xtask::process::ProcessId;

use super::cases::Layout;
use super::ground::{BACKEND, Ground, HOSTS, SINK_PORT, is_up};
use super::sink::Sink;

/// Longer than any of them takes to listen on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Between two changes of a route.
const CHANGE: Duration = Duration::from_millis(100);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Nginx,
    Haproxy,
    Kennel,
    /// Kennel with one route instead of thousands.
    OneRoute,
    /// Kennel, while a route changes ten times a second.
    Changing,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Kennel => "Kennel",
            Self::OneRoute => "Kennel, one route",
            Self::Changing => "Kennel, route changes",
        })
    }
}

/// A running one.
pub(super) struct Proxy {
    child: Process,
    pub(super) port: u16,
    pub(super) tls_port: u16,
}

/// All that runs in one layout. Dropped, it is ended.
pub(super) struct Stage<'g> {
    pub(super) ground: &'g Ground,
    pub(super) layout: Layout,
    pub(super) sink: Sink,
    proxies: Vec<(Who, Proxy)>,
    _backend: Process,
}

impl<'g> Stage<'g> {
    pub(super) fn start(ground: &'g Ground, layout: Layout) -> Result<Self> {
        let backend = backend(ground, layout)?;
        let sink = Sink::start(SINK_PORT)?;
        let who: &[Who] = match layout {
            Layout::Own => &[Who::Nginx, Who::Haproxy, Who::Kennel, Who::OneRoute],
            Layout::Shared => &[Who::Nginx, Who::Haproxy, Who::Kennel],
        };
        let proxies = who.iter().map(|who| Ok((*who, start(ground, *who, layout)?)));
        let proxies = proxies.collect::<Result<_>>()?;
        Ok(Self { ground, layout, sink, proxies, _backend: backend })
    }

    pub(super) fn proxy(&self, who: Who) -> Result<&Proxy> {
        let process = if who == Who::Changing { Who::Kennel } else { who };
        let found = self.proxies.iter().find(|(it, _)| *it == process);
        found.map(|(_, proxy)| proxy).with_context(|| format!("{who} is not in this layout"))
    }
}

impl Proxy {
    /// All of its processes.
    pub(super) fn processes(&self) -> Vec<i32> {
        let mut all = vec![self.child.id.pid()];
        all.extend(self.child.id.children());
        all
    }

    /// Bytes of memory, shared pages divided by those who share them.
    pub(super) fn memory(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.processes() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
                .with_context(|| format!("cannot see the memory of process {pid}"))?;
            let pss = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = pss.and_then(|pss| pss.trim().strip_suffix(" kB")).context("no PSS")?;
            sum += kib.trim().parse::<u64>()? * 1024;
        }
        Ok(sum)
    }
}

/// Starts one, and waits until it listens.
pub(super) fn start(ground: &Ground, who: Who, layout: Layout) -> Result<Proxy> {
    let port = 8000 + 10 * (who as u16) + if layout == Layout::Shared { 100 } else { 0 };
    let tls_port = port + 1;
    let backend = BACKEND + if layout == Layout::Shared { 1 } else { 0 };
    let workers = match layout {
        Layout::Own => 1,
        Layout::Shared => 2,
    };
    let values = [
        ("port", port.to_string()),
        ("tls_port", tls_port.to_string()),
        ("backend", backend.to_string()),
        ("sink", SINK_PORT.to_string()),
        ("workers", workers.to_string()),
        ("files", ground.files.to_string()),
        // Each may need one more descriptor, to a service.
        ("connections", (ground.files.saturating_sub(100) / 2).to_string()),
        ("site", ground.site().display().to_string()),
    ];
    let cpus = ground.for_proxies(layout);
    let child = match who {
        Who::Nginx => {
            // In one block: each of its own would have its own copy of the certificate.
            let hosts: String =
                (0..HOSTS).map(|number| format!("        h{number}.bench.test\n")).collect();
            let values = [&values[..], &[("hosts", hosts)]].concat();
            let path = ground.configure("nginx.conf", include_str!("nginx.conf"), &values)?;
            let mut command = ground.on(&cpus, Path::new("nginx"));
            command.arg("-c").arg(path).spawn()
        }
        Who::Haproxy => {
            let path = ground.configure("haproxy.cfg", include_str!("haproxy.cfg"), &values)?;
            let log = fs::File::create(ground.dir.join(format!("haproxy-{port}.log")))?;
            let mut command = ground.on(&cpus, Path::new("haproxy"));
            command.args(["-db", "-f"]).arg(path).stderr(log).spawn()
        }
        Who::Kennel | Who::OneRoute | Who::Changing => {
            let hosts = if who == Who::OneRoute { 1 } else { HOSTS };
            let table = table_of(ground, port);
            base::write(&table, ground.routes(hosts, 1, backend).to_string())?;
            let mut command = ground.on(&cpus, &ground.program);
            command
                .env("GLIBC_TUNABLES", AS_IN_ITS_UNIT)
                .arg("--listen")
                .arg(format!("127.0.0.1:{port}"))
                .arg("--listen-tls")
                .arg(format!("127.0.0.1:{tls_port}"))
                .arg("--table")
                .arg(table)
                .arg("--certificates")
                .arg(ground.dir.join("certificates"))
                .arg("--store")
                .arg(ground.dir.join("store"))
                .args(["--workers", &workers.to_string()])
                .stdout(fs::File::create(ground.dir.join(format!("kennel-{port}.log")))?)
                .stderr(fs::File::create(ground.dir.join(format!("kennel-{port}.err")))?)
                .spawn()
        }
    };
    let child = Process::new(child.with_context(|| format!("cannot start {who}"))?)?;
    let mut proxy = Proxy { child, port, tls_port };
    let begun = Instant::now();
    while !is_up(&proxy) {
        if let Some(status) = proxy.child.child.try_wait()? {
            bail!("{who} ended ({status}); see {}", ground.dir.display());
        }
        if begun.elapsed() > START_LIMIT {
            bail!("{who} does not listen after {START_LIMIT:?}; see {}", ground.dir.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(proxy)
}

fn table_of(ground: &Ground, port: u16) -> std::path::PathBuf {
    ground.dir.join(format!("routes-{port}.json"))
}

/// `kennel-router.service` says so.
const AS_IN_ITS_UNIT: &str = "glibc.malloc.trim_threshold=8388608";

/// What stands behind them: files, and 1 KiB out of memory.
pub(super) fn backend(ground: &Ground, layout: Layout) -> Result<Process> {
    let (port, workers) = match layout {
        Layout::Own => (BACKEND, 1),
        Layout::Shared => (BACKEND + 1, 2),
    };
    let values = [
        ("backend", port.to_string()),
        ("files", ground.files.to_string()),
        ("files_of", ground.dir.join("files").display().to_string()),
        ("kib", "k".repeat(1024)),
        ("workers", workers.to_string()),
    ];
    let path = ground.configure("backend.conf", include_str!("backend.conf"), &values)?;
    let mut command = ground.on(&ground.for_others(layout), Path::new("nginx"));
    let backend = Process::new(command.arg("-c").arg(path).spawn()?)?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > START_LIMIT {
            bail!("the backend does not listen; see {}", ground.dir.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(backend)
}

/// A process that ends with this value.
pub(super) struct Process {
    child: Child,
    id: ProcessId,
}

impl Process {
    fn new(child: Child) -> Result<Self> {
        let id = ProcessId::of(i32::try_from(child.id())?)?;
        Ok(Self { child, id })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without its master nginx's workers would stay.
        let all: Vec<_> = self.id.children().into_iter().flat_map(ProcessId::of).collect();
        all.into_iter().chain([self.id]).for_each(|process| process.signal(Signal::KILL));
        let _ended = self.child.wait();
    }
}

/// Changes a route that nobody visits, ten times a second.
pub(super) struct Changes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Changes {
    pub(super) fn start(ground: &Ground, proxy: &Proxy) -> Self {
        // What deploys has done its own part before: tables that differ.
        let tables = [2, 3].map(|generation| ground.routes(HOSTS, generation, BACKEND).to_string());
        let (path, process) = (table_of(ground, proxy.port), proxy.child.id);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || -> Result<()> {
            let new = path.with_extension("new");
            for table in tables.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                base::write(&new, table)?;
                fs::rename(&new, &path)?;
                process.signal(Signal::HUP);
                thread::sleep(CHANGE);
            }
            Ok(())
        });
        Self { stop, thread }
    }

    pub(super) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread of changes panicked"))?
    }
}
