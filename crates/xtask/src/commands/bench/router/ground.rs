//! Where it is measured: a folder, cores, addresses, and what is served.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};
use serde_json::{Value, json};
use xtask::base;
use xtask::checkout::Checkout;

use super::cases::Layout;
use super::proxies::{Proxy, Stage};

/// Host names in each one's table.
pub(super) const HOSTS: usize = 2000;
/// The one that is asked for; the others are there.
pub(super) const HOST: &str = "h1234.bench.test";
/// Its files.
pub(super) const STATIC: &str = "static.bench.test";
/// Takes what is uploaded.
pub(super) const SINK: &str = "sink.bench.test";
/// Where the backend listens, and the one for [`Layout::Shared`] one above.
pub(super) const BACKEND: u16 = 9000;
/// Where the sink listens.
pub(super) const SINK_PORT: u16 = 9100;

/// Descriptors of each process: 10,000 connections at rest, and Kennel keeps one for a service in
/// reserve for each.
const FILES: u64 = 32_768;
const HASH: &str = "0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l";

/// All that is there before anything runs.
pub(super) struct Ground {
    pub(super) dir: PathBuf,
    /// Kennel's.
    pub(super) program: PathBuf,
    /// Descriptors that a process may have.
    pub(super) files: u64,
    cpus: Vec<usize>,
}

impl Ground {
    /// Makes it, in the namespaces.
    pub(super) fn prepare(checkout: &Checkout, program: &Path) -> Result<Self> {
        let dir = checkout.target().join("bench-router");
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        // Where it may not be written, fewer new connections are possible; the figures say so.
        let _ = fs::write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65500");
        let _ = fs::write("/proc/sys/net/core/somaxconn", "4096");
        let cpus: Vec<usize> = {
            let set = sched_getaffinity(None)?;
            (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
        };
        let ground = Self { dir, program: program.to_owned(), files: raise_files()?, cpus };
        ground.fill()?;
        Ok(ground)
    }

    fn fill(&self) -> Result<()> {
        for (folder, name, bytes) in [
            ("files", "64k", 64 << 10),
            ("files", "1m", 1 << 20),
            ("files", "64m", 64 << 20),
            ("site", "1k.bin", 1 << 10),
            ("site", "100k.bin", 100 << 10),
            ("site", "1m.bin", 1 << 20),
            ("site", "50m.bin", 50 << 20),
        ] {
            let folder = if folder == "site" { self.site() } else { self.dir.join(folder) };
            base::write(&folder.join(name), noise(bytes))?;
        }
        let names = (0..HOSTS).map(|number| format!("h{number}.bench.test services\n"));
        let map: String = names.chain([format!("{SINK} sink\n")]).collect();
        base::write(&self.dir.join("hosts.map"), map)?;
        base::write(&self.dir.join("wrk.lua"), include_str!("wrk.lua"))?;
        self.certificate()
    }

    /// One for all names and for all of them.
    fn certificate(&self) -> Result<()> {
        let (key, certificate) = (self.dir.join("key.pem"), self.dir.join("certificate.pem"));
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-subj", "/CN=bench.test", "-days", "30"])
            .args(["-addext", "subjectAltName=DNS:*.bench.test", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate))?;
        let both = fs::read_to_string(&certificate)? + &fs::read_to_string(&key)?;
        base::write(&self.dir.join("certificates/bench.pem"), both)
    }

    /// The folder of the static site.
    pub(super) fn site(&self) -> PathBuf {
        self.dir.join("store").join(format!("{HASH}-bench"))
    }

    /// Kennel's table. A higher generation has one other deployment in it, which nobody visits.
    pub(super) fn routes(&self, hosts: usize, generation: u64, backend: u16) -> Value {
        let service = |deployment: u64, port: u16| {
            let target = json!({
                "kind": "service", "deployment": deployment, "port": port, "health_check": "/1k",
            });
            json!([{ "prefix": "/", "target": target }])
        };
        let mut table = serde_json::Map::new();
        if hosts == HOSTS {
            for number in (0..HOSTS).map(|number| number as u64) {
                let deployment = if number == 7 { 10_000 + generation } else { number + 1 };
                table.insert(format!("h{number}.bench.test"), service(deployment, backend));
            }
            table.insert(SINK.to_owned(), service(5000, SINK_PORT));
            let site = json!({
                "kind": "site", "deployment": 5001, "root": format!("/nix/store/{HASH}-bench"),
                "spa": false,
            });
            table.insert(STATIC.to_owned(), json!([{ "prefix": "/", "target": site }]));
        } else {
            table.insert(HOST.to_owned(), service(1235, backend));
        }
        json!({
            "version": 1, "generation": generation, "tls": { "redirect": false }, "hosts": table,
        })
    }

    /// Starts what a layout needs.
    pub(super) fn stage(&self, layout: Layout) -> Result<Stage<'_>> {
        Stage::start(self, layout)
    }

    /// The cores of a proxy, as taskset(1) writes them.
    pub(super) fn for_proxies(&self, layout: Layout) -> String {
        let two = self.cpus.len().saturating_sub(2);
        let of = match layout {
            Layout::Own => self.cpus.last().into_iter().copied().collect(),
            Layout::Shared => self.cpus.iter().skip(two).copied().collect::<Vec<_>>(),
        };
        list(&of)
    }

    /// The cores of what loads it and stands behind it.
    pub(super) fn for_others(&self, layout: Layout) -> String {
        match (layout, self.cpus.split_last()) {
            (Layout::Own, Some((_, rest))) if !rest.is_empty() => list(rest),
            _ => self.for_proxies(layout),
        }
    }

    /// Fills in a configuration, and returns where it lies.
    pub(super) fn configure(
        &self,
        name: &str,
        template: &str,
        values: &[(&str, String)],
    ) -> Result<PathBuf> {
        let mut text = template.replace("@dir@", &self.dir.display().to_string());
        for (key, value) in values {
            text = text.replace(&format!("@{key}@"), value);
        }
        let rest = text.lines().find(|line| !line.starts_with('#') && line.contains('@'));
        if let Some(line) = rest {
            bail!("{name}: `{line}` is not filled in");
        }
        let path = self.dir.join(name);
        base::write(&path, text)?;
        Ok(path)
    }

    /// A command on these cores.
    pub(super) fn on(&self, cpus: &str, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", cpus]).arg(program).stdin(Stdio::null());
        command
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("unknown", |(_, name)| name);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        write!(
            f,
            "{model}, {} cores, Linux {}; {}, {}",
            self.cpus.len(),
            kernel.trim(),
            version("nginx", "-v"),
            version("haproxy", "-v")
        )
    }
}

/// The first line of what a program says about itself.
fn version(program: &str, flag: &str) -> String {
    let said = Command::new(program).arg(flag).output();
    let said = said.map(|it| [it.stdout, it.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or("unknown").trim_start_matches("nginx version: ");
    line.split(" 20").next().unwrap_or(line).replace("nginx/", "nginx ").replace("version ", "")
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Bytes that no compression makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(bytes / 8).flatten().collect()
}

/// Allows this process, and those that it starts, as many descriptors as it may.
fn raise_files() -> Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(FILES);
    let wanted = |files| Rlimit { current: Some(files), maximum: Some(hard.max(files)) };
    // Above the hard limit only who may do everything gets it.
    if setrlimit(Resource::Nofile, wanted(FILES)).is_ok() {
        return Ok(FILES);
    }
    setrlimit(Resource::Nofile, wanted(hard)).context("cannot raise the limit of descriptors")?;
    Ok(hard)
}

/// Runs a command that has nothing to say.
fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    Ok(())
}

/// What listens.
pub(super) fn is_up(proxy: &Proxy) -> bool {
    [proxy.port, proxy.tls_port]
        .iter()
        .all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
}
