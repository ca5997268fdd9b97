//! What is measured, and what is wanted of it.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::http::{self, Ask as Question};

use super::handshakes;
use super::proxies::{Proxy, Stage, Who};
use super::tools::{Ask, Done, h2load, wrk};

/// How long one answer may take before anything is measured.
const LIMIT: Duration = Duration::from_secs(10);

/// The case that others refer to.
pub(super) const KEPT: &str = "keep-alive";

/// Who has which cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The proxy has one to itself.
    Own,
    /// All share two, with two workers each.
    Shared,
}

/// How it is loaded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Plain(Ask),
    /// TLS, over kept connections.
    Tls,
    /// HTTP/2, many requests in each connection.
    Http2,
    /// TLS connections for one request each.
    Handshakes {
        resumed: bool,
    },
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// At least so many times the requests a second of another.
    Rate(Who, f64),
    /// At most so many times its CPU.
    Cpu(Who, f64),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) layout: Layout,
    load: Load,
    pub(super) who: &'static [Who],
    pub(super) goals: &'static [Goal],
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const ALL: &[Who] = &[Who::Nginx, Who::Haproxy, Who::Kennel];
const KENNELS: &[Who] = &[Who::Nginx, Who::Haproxy, Who::Kennel, Who::OneRoute, Who::Changing];
/// HAProxy serves no files.
const SERVERS: &[Who] = &[Who::Nginx, Who::Kennel];

const fn case(name: &'static str, title: &'static str, load: Load, goals: &'static [Goal]) -> Case {
    Case { name, title, layout: Layout::Own, load, who: ALL, goals }
}

const fn file(name: &'static str, title: &'static str, ask: Ask, goals: &'static [Goal]) -> Case {
    let load = Load::Plain(ask);
    Case { name, title, layout: Layout::Own, load, who: SERVERS, goals }
}

/// All of them.
pub(super) const CASES: &[Case] = &[
    Case {
        who: KENNELS,
        ..case(
            KEPT,
            "1 KiB, kept connections",
            Load::Plain(Ask::service("/1k", KIB, 64)),
            &[
                Goal::Rate(Who::Nginx, 1.0),
                Goal::Rate(Who::Haproxy, 1.25),
                Goal::Cpu(Who::Nginx, 1.0),
                Goal::Cpu(Who::Haproxy, 1.0),
            ],
        )
    },
    case(
        "new",
        "1 KiB, new connections",
        Load::Plain(Ask { closes: true, ..Ask::service("/1k", KIB, 64) }),
        &[],
    ),
    case(
        "64k",
        "64 KiB",
        Load::Plain(Ask::service("/64k", 64 * KIB, 32)),
        &[Goal::Cpu(Who::Nginx, 0.7)],
    ),
    case("1m-down", "1 MiB", Load::Plain(Ask::service("/1m", MIB, 16)), &[]),
    case("64m-down", "64 MiB", Load::Plain(Ask::service("/64m", 64 * MIB, 4)), &[]),
    case("1m-up", "1 MiB uploaded", Load::Plain(upload(MIB, 16)), &[]),
    case("64m-up", "64 MiB uploaded", Load::Plain(upload(64 * MIB, 4)), &[]),
    file(
        "static-1k",
        "file of 1 KiB",
        Ask::file("/1k.bin", KIB, 64),
        &[Goal::Rate(Who::Nginx, 1.3)],
    ),
    file("static-100k", "file of 100 KiB", Ask::file("/100k.bin", 100 * KIB, 32), &[]),
    file(
        "static-1m",
        "file of 1 MiB",
        Ask::file("/1m.bin", MIB, 16),
        &[Goal::Rate(Who::Nginx, 0.9)],
    ),
    file("static-50m", "file of 50 MiB", Ask::file("/50m.bin", 50 * MIB, 4), &[]),
    case(
        "tls-full",
        "TLS, new sessions, a request each",
        Load::Handshakes { resumed: false },
        &[Goal::Rate(Who::Nginx, 1.0)],
    ),
    case(
        "tls-resumed",
        "TLS, resumed sessions, a request each",
        Load::Handshakes { resumed: true },
        &[Goal::Rate(Who::Nginx, 1.0)],
    ),
    case("tls-kept", "1 KiB over TLS, kept connections", Load::Tls, &[Goal::Rate(Who::Nginx, 1.0)]),
    case("http2", "1 KiB over HTTP/2, 8 × 32 streams", Load::Http2, &[Goal::Rate(Who::Nginx, 1.0)]),
    Case {
        layout: Layout::Shared,
        ..case(
            "shared",
            "1 KiB, kept, everything on two cores",
            Load::Plain(Ask::service("/1k", KIB, 64)),
            &[],
        )
    },
];

const fn upload(bytes: usize, connections: usize) -> Ask {
    Ask { host: super::ground::SINK, path: "/", bytes, connections, closes: false, uploads: true }
}

impl Case {
    /// That it is answered as it should be, before anything is measured.
    pub(super) fn check(&self, stage: &Stage, who: Who) -> Result<()> {
        let ask = match self.load {
            Load::Plain(ask) => ask,
            Load::Tls | Load::Http2 | Load::Handshakes { .. } => Ask::service("/1k", KIB, 1),
        };
        let question = if ask.uploads {
            Question::post(ask.host, ask.path, vec![b'x'; 1000])
        } else {
            Question::get(ask.host, ask.path)
        };
        let stream = TcpStream::connect(("127.0.0.1", stage.proxy(who)?.port))?;
        let answer = http::send(stream, &question, LIMIT).context("no answer")?;
        let wanted = if ask.uploads { 2 } else { ask.bytes };
        ensure!(
            answer.status == 200 && answer.body.len() == wanted,
            "{} bytes with status {} instead of {wanted} with 200",
            answer.body.len(),
            answer.status
        );
        Ok(())
    }

    /// Loads it for so long.
    pub(super) fn load(&self, stage: &Stage, proxy: &Proxy, time: Duration) -> Result<Done> {
        match self.load {
            Load::Plain(ask) => wrk(stage, proxy, ask, time),
            Load::Tls => h2load(stage, proxy, "/1k", false, time),
            Load::Http2 => h2load(stage, proxy, "/1k", true, time),
            Load::Handshakes { resumed } => handshakes::run(proxy, resumed, time),
        }
    }
}
