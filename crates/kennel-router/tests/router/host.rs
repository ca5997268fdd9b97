//! A running router with its own table, store and sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kennel_core::RouterStatus;
use kennel_router::{Command, Limits, RouterError, Settings, Sockets, run_embedded};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::client::Client;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A router that runs in this process.
pub(crate) struct Router {
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS.
    pub(crate) secure: SocketAddr,
    dir: TempDir,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<Result<(), RouterError>>>,
    generation: u64,
}

/// A second router for the listeners of the first, that does not run yet.
pub(crate) struct Relief {
    settings: Settings,
    sockets: Sockets,
}

/// One host of a table, as JSON.
pub(crate) fn service(deployment: u64, address: SocketAddr) -> String {
    format!(
        r#"{{"kind":"service","deployment":{deployment},"port":{},"health_check":"/"}}"#,
        address.port()
    )
}

/// A site in the router's own store.
pub(crate) fn site(name: &str, spa: bool) -> String {
    format!(r#"{{"kind":"site","deployment":1,"root":"/nix/store/{HASH}-{name}","spa":{spa}}}"#)
}

/// Any store path's hash.
pub(crate) const HASH: &str = "0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l";

/// Bounds that make deadlines testable, and nothing else different.
pub(crate) fn short() -> Limits {
    Limits { tick: Duration::from_millis(20), ..usual() }
}

/// The usual bounds, but that no service is asked for its health, which few here expect.
pub(crate) fn usual() -> Limits {
    Limits { health_every: Duration::from_secs(1 << 20), ..Limits::default() }
}

impl Router {
    /// Starts one without a table.
    pub(crate) fn boot() -> Self {
        Self::boot_with(usual(), |_| ())
    }

    /// Starts one that serves `target` under `a.example`.
    pub(crate) fn serving(target: &str) -> Self {
        let mut router = Self::boot();
        router.publish(&[("a.example", target)]);
        router
    }

    /// Starts one with these bounds, after its directory was prepared.
    pub(crate) fn boot_with(limits: Limits, prepare: impl FnOnce(&Path)) -> Self {
        Self::boot_on(limits, prepare, |_, _| ()).0
    }

    /// Starts one with these bounds, and gets another one ready to relieve it.
    pub(crate) fn boot_relieved(limits: Limits) -> (Self, Relief) {
        Self::boot_on(
            limits,
            |_| (),
            |settings, sockets| Relief {
                settings: settings.clone(),
                sockets: sockets.relief(&settings.relief).unwrap(),
            },
        )
    }

    fn boot_on<T>(
        limits: Limits,
        prepare: impl FnOnce(&Path),
        look: impl FnOnce(&Settings, &Sockets) -> T,
    ) -> (Self, T) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("store")).unwrap();
        prepare(dir.path());
        let any = ["127.0.0.1:0".parse().unwrap()];
        let sockets = Sockets::bind(&any, &any, Some(&dir.path().join("status"))).unwrap();
        let [(_, address), (_, secure)] = sockets.addresses()[..] else { panic!("no addresses") };
        let settings = Settings {
            table: dir.path().join("routes.json"),
            certificates: dir.path().join("certs"),
            logins: dir.path().join("logins.json"),
            challenges: dir.path().join("challenges"),
            journal: dir.path().join("journal"),
            store: dir.path().join("store"),
            relief: dir.path().join("relief"),
            workers: 2,
            limits,
        };
        let looked = look(&settings, &sockets);
        let (commands, receiver) = unbounded_channel();
        let thread = std::thread::spawn(move || run_embedded(settings, sockets, receiver));
        let router = Self { address, secure, dir, commands, thread: Some(thread), generation: 0 };
        (router, looked)
    }

    /// The directory of a store path, made if it is missing.
    pub(crate) fn store_path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("store").join(format!("{HASH}-{name}"));
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Publishes a table and waits until it is in force.
    pub(crate) fn publish(&mut self, hosts: &[(&str, &str)]) {
        let route = |(host, target): &(&str, &str)| {
            format!(r#""{host}":[{{"prefix":"/","target":{target}}}]"#)
        };
        let hosts: Vec<String> = hosts.iter().map(route).collect();
        self.publish_with("", &hosts.join(","));
    }

    /// Publishes a table of these hosts and waits until it is in force. `more` are members of the
    /// table, each with its comma.
    pub(crate) fn publish_with(&mut self, more: &str, hosts: &str) {
        self.generation += 1;
        let generation = self.generation;
        self.publish_text(&format!(
            r#"{{"version":1,"generation":{generation},{more}"hosts":{{{hosts}}}}}"#
        ));
        self.until(|status| status.generation == Some(generation));
    }

    /// Replaces the table's file as kennel-deploy does, and asks for a reload.
    pub(crate) fn publish_text(&self, text: &str) {
        let new = self.dir.path().join("routes.json.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.dir.path().join("routes.json")).unwrap();
        self.commands.send(Command::Reload).unwrap();
    }

    /// Removes the table's file, which nobody ever does, and asks for a reload.
    pub(crate) fn withdraw(&self) {
        fs::remove_file(self.dir.path().join("routes.json")).unwrap();
        self.commands.send(Command::Reload).unwrap();
    }

    /// Waits until the status is as wanted.
    pub(crate) fn until(&self, wanted: impl Fn(&RouterStatus) -> bool) -> RouterStatus {
        let start = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the status stayed {status:?}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn status(&self) -> RouterStatus {
        serde_json::from_str(&self.ask("/status")).unwrap()
    }

    /// One counter of the metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.ask("/metrics");
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("kennel_router_{name} ")));
        line.unwrap().parse().unwrap()
    }

    /// Asks the status socket, and returns the body.
    pub(crate) fn ask(&self, path: &str) -> String {
        self.call("GET", path)
    }

    /// Calls the status socket, and returns the body.
    pub(crate) fn call(&self, method: &str, path: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("status")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: router\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Begins to stop it.
    pub(crate) fn stop(&self) {
        self.commands.send(Command::Stop).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn join(mut self) -> Result<(), RouterError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Relief {
    /// Starts it, as systemd does when it is called for. Nobody tells it to stop.
    pub(crate) fn start(self) -> JoinHandle<Result<(), RouterError>> {
        let (commands, receiver) = unbounded_channel();
        std::thread::spawn(move || {
            let _silent = commands;
            run_embedded(self.settings, self.sockets, receiver)
        })
    }
}
