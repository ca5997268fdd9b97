//! `cargo xtask bench deliveries`: webhook deliveries a second over several connections at once.
//!
//! Kennel's are counted when they are answered 202, which says that their row is on disk. Debian's
//! `webhook` checks the same signature and runs `/bin/true` for each; it answers before it does
//! (its default), or after, which is counted apart.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::json;
use xtask::base;
use xtask::forge::Event;
use xtask::kennel::Kennel;
use xtask::netns::Netns;
use xtask::project::Project;

use super::reports;
use super::series::Series;
use super::stage::{Stage, fresh, until_jobs_ended};

/// Debian's webhook listens there.
const PORT: u16 = 9000;

/// An answer that takes longer is none.
const LIMIT: Duration = Duration::from_secs(30);

/// What it may be told.
#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    #[command(flatten)]
    stage: Stage,
    /// How often each way is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Deliveries to Kennel per round; Debian's webhook gets a fifth
    #[arg(long, default_value_t = 5000)]
    deliveries: usize,
    /// Connections, each with one delivery after the other
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// Who takes them.
#[derive(Clone, Debug)]
enum Taker {
    /// A port in the host's network.
    Port(Netns, u16),
    /// A socket in the host's file system.
    Socket(PathBuf),
}

impl Deliveries {
    pub(crate) fn run(&self) -> Result<()> {
        let kennel = self.stage.open("")?;
        // Everything is kept and nothing is built, so that it is the receiver that is measured.
        let project = kennel.project_on(
            xtask::forge::Forge::Forgejo,
            &fresh("flood"),
            "branches = [\"none\"]",
        )?;
        start_debians(&kennel, project.secret())?;
        let netns = kennel.host().netns()?;
        let ways = [
            (
                "Kennel, its own socket",
                "/webhook",
                Taker::Socket(kennel.host().path("/run/kennel/webhook.sock")?),
                202,
                1,
            ),
            ("Kennel, through the router", "/webhook", Taker::Port(netns.clone(), 80), 202, 1),
            (
                "Debian's webhook, answered, then true",
                "/hooks/early",
                Taker::Port(netns.clone(), PORT),
                200,
                5,
            ),
            (
                "Debian's webhook, true, then answered",
                "/hooks/late",
                Taker::Port(netns, PORT),
                200,
                5,
            ),
        ];
        let mut rates = vec![Series::default(); ways.len()];
        for round in 0..=self.rounds {
            for ((name, path, taker, wanted, part), series) in ways.iter().zip(&mut rates) {
                let requests = requests(&project, path, self.deliveries / part)?;
                let took = deliver(taker, requests, self.connections, *wanted)
                    .with_context(|| (*name).to_owned())
                    .map_err(|err| kennel.explain(&err))?;
                // The dispatcher has its rows to take, and webhook its children to wait for.
                rest(&kennel)?;
                // The first round warms everything up.
                if round > 0 {
                    #[expect(clippy::cast_precision_loss, reason = "thousands")]
                    series.add_number((self.deliveries / part) as f64 / took.as_secs_f64());
                }
            }
        }
        reports::table("deliveries a second", ways.iter().map(|way| way.0).zip(&rates));
        let times = |ours: usize, theirs: usize| {
            let rate = |index: usize| rates.get(index).map(Series::median).unwrap_or_default();
            rate(ours) / rate(theirs)
        };
        println!("\nthrough the router: {:.1} and {:.1} times as many", times(1, 2), times(1, 3));
        println!("on its own socket:  {:.1} and {:.1} times as many", times(0, 2), times(0, 3));
        let figures = ways.iter().map(|way| way.0.to_owned()).zip(rates.iter().map(Series::json));
        self.stage.keep("deliveries", &json!(figures.collect::<serde_json::Map<_, _>>()))
    }
}

fn rest(kennel: &Kennel) -> Result<()> {
    kennel.wait_for("rest of the dispatcher and of webhook", LIMIT, || {
        let script = "systemctl is-active --quiet kennel-dispatch.service && echo dispatcher; \
                      pgrep -x true; exit 0";
        let busy = kennel.host().run(&["sh", "-c", script])?;
        if busy.is_empty() { Ok(Some(())) } else { bail!("{busy}") }
    })?;
    until_jobs_ended(kennel)
}

/// Pushes, each with a delivery id and a branch of its own, signed.
fn requests(project: &Project, path: &str, count: usize) -> Result<Vec<Vec<u8>>> {
    let own = format!("/webhook/{}", project.name());
    (0..count)
        .map(|number| {
            let event = Event::Push {
                branch: format!("b{}", number % 50),
                before: format!("{:040x}", number + 1),
                after: format!("{:040x}", number + 2),
            };
            let request = project.asks(&event)?.into_iter().next().context("no request")?;
            let request = request.kept_bytes();
            if path == "/webhook" {
                return Ok(request);
            }
            let text = String::from_utf8(request).context("a request that is no text")?;
            Ok(text.replacen(&own, path, 1).into_bytes())
        })
        .collect()
}

/// From the first request to the last answer.
fn deliver(
    taker: &Taker,
    mut requests: Vec<Vec<u8>>,
    connections: usize,
    wanted: u16,
) -> Result<Duration> {
    let begin = Barrier::new(connections + 1);
    thread::scope(|scope| {
        let mut senders = Vec::new();
        for number in 0..connections {
            let share = requests.len() / (connections - number);
            let own = requests.split_off(requests.len() - share);
            let begin = &begin;
            senders.push(scope.spawn(move || -> Result<()> {
                if let Taker::Port(netns, _) = taker {
                    netns.enter().context("cannot enter the host's network")?;
                }
                let mut connection = Connection::to(taker);
                begin.wait();
                for request in &own {
                    let status = connection.exchange(request)?;
                    ensure!(status == wanted, "answered {status}");
                }
                Ok(())
            }));
        }
        begin.wait();
        let begun = Instant::now();
        for sender in senders {
            sender.join().map_err(|_| anyhow!("a sender panicked"))??;
        }
        Ok(begun.elapsed())
    })
}

impl Taker {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Port(_, port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(LIMIT))?;
                Box::new(stream)
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(LIMIT))?;
                Box::new(stream)
            }
        })
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection for one delivery after the other, made anew where the other side closes it.
struct Connection<'t> {
    taker: &'t Taker,
    stream: Option<Box<dyn Stream>>,
    received: Vec<u8>,
}

impl<'t> Connection<'t> {
    fn to(taker: &'t Taker) -> Self {
        Self { taker, stream: None, received: Vec::new() }
    }

    /// The status of the answer, once the whole of it has come.
    fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        let mut stream = match self.stream.take() {
            Some(kept) => kept,
            None => self.taker.connect()?,
        };
        stream.write_all(request)?;
        self.received.clear();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk)?;
            ensure!(count > 0, "hung up after {:?}", String::from_utf8_lossy(&self.received));
            self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
            let Some(head) = Head::parse(&self.received)? else { continue };
            if self.received.len() >= head.whole {
                self.stream = head.keeps.then_some(stream);
                return Ok(head.status);
            }
        }
    }
}

/// What an answer begins with.
struct Head {
    status: u16,
    /// Bytes of the whole answer.
    whole: usize,
    /// Whether the connection stays.
    keeps: bool,
}

impl Head {
    /// None until all of it is there.
    fn parse(received: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = answer.parse(received)? else { return Ok(None) };
        let status = answer.code.context("no status")?;
        let value = |name: &str| {
            let header = answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
            header.map(|it| String::from_utf8_lossy(it.value))
        };
        let body = value("content-length").with_context(|| format!("{status} has no length"))?;
        let keeps = value("connection").is_none_or(|it| !it.eq_ignore_ascii_case("close"));
        Ok(Some(Self { status, whole: head + body.parse::<usize>()?, keeps }))
    }
}

/// Puts Debian's webhook on the host, if it is not there, and starts it with two hooks that check
/// the signature: one answers at once, one when its command has ended.
fn start_debians(kennel: &Kennel, secret: &str) -> Result<()> {
    let host = kennel.host();
    if !host.root().join("usr/bin/webhook").exists() {
        let script = "cd \"$(mktemp -d)\" && apt-get download --quiet=2 webhook && \
                      dpkg-deb --fsys-tarfile webhook_*.deb | tar -x -C \"$0\" ./usr/bin/webhook";
        let status = Command::new("sh").args(["-euc", script]).arg(host.root()).status()?;
        ensure!(status.success(), "cannot get Debian's webhook; `apt-get update` may help");
    }
    let hook = |id: &str, late: bool| {
        json!({
            "id": id,
            "execute-command": "/bin/true",
            "http-methods": ["POST"],
            "include-command-output-in-response": late,
            "trigger-rule": { "match": {
                "type": "payload-hmac-sha256",
                "secret": secret,
                "parameter": { "source": "header", "name": "X-Hub-Signature-256" },
            }},
        })
    };
    let hooks = json!([hook("early", false), hook("late", true)]);
    base::write(&host.root().join("etc/webhook-bench.json"), hooks.to_string())?;
    host.sh(&format!(
        "systemctl stop webhook-bench 2>/dev/null || true
         systemd-run --quiet --unit=webhook-bench --property=LimitNOFILE=65536 \
           webhook -hooks /etc/webhook-bench.json -ip 127.0.0.1 -port {PORT}"
    ))?;
    kennel
        .wait_for("port of Debian's webhook", LIMIT, || Ok(Some(host.netns()?.connect(PORT)?)))?;
    Ok(())
}
